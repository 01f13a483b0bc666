"""Which training images an epoch sees, in which order, and which of them flipped.

The first epochs see every image. Later ones select hard examples, those with the highest loss when
they were last trained on, which costs nothing to know, and a few of the others, whose losses would
otherwise grow old (after Jiang et al. 2019, selective backpropagation, arXiv 1910.00762;
airbench96_faster asks a second, smaller network instead).
"""
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ex03_cifar.augment import training_batch


def new_samples(count):
    """Return what a run remembers of `count` images, at its beginning: a dict of arrays.

    losses: float32 [N], the cross-entropy of each image when it was last trained on. At first it
        is higher than any loss, so an image that was never seen counts as the hardest.
    order: int32 [N], indices of the images, those of the current epoch first.
    flipped: bool [N], whether the current epoch shows the image flipped.
    """
    return {"losses": np.full(count, np.finfo(np.float32).max, np.float32),
            "order": np.zeros(count, np.int32), "flipped": np.zeros(count, bool)}


def begin_epoch(samples, recipe, epoch):
    """Return order and flipped, a dict, of an epoch: its images are selected by the losses so far.

    An image is flipped every other time that it is seen, so any two times show it both ways; a
    coin tossed each time would show half of the images the same way twice (Jordan 2024,
    alternating flip, arXiv 2404.00498).
    """
    losses, flipped = samples["losses"], samples["flipped"].copy()
    rng = np.random.RandomState([recipe.seed, epoch])
    if epoch == 0:
        flipped[:] = rng.rand(len(losses)) < 0.5
    size = recipe.schedule.epoch_sizes[epoch]
    if size < len(losses):
        order = select(losses, rng, size, recipe.schedule.random_images)
    else:
        order = rng.permutation(len(losses))
    seen = order[:size - size % recipe.batch_size]
    flipped[seen] = ~flipped[seen]
    return {"order": order.astype(np.int32), "flipped": flipped}


def select(losses, rng, size, random_images):
    """Return the indices of all images, int [N]: the `size` selected ones first, in random order.

    Selected are those of the highest `losses`, float [N], and `random_images` of the others.
    """
    hardest, others = np.split(np.argsort(-losses, kind="mergesort"), [size - random_images])
    drawn, left_out = np.split(rng.permutation(others), [random_images])
    return np.concatenate([rng.permutation(np.concatenate([hardest, drawn])), left_out])


def batches(images, samples, recipe, start):
    """Yield (epoch, indices int32 [N], batch uint8 [N,S,S,3]) of each step, from step `start` on.

    While a step is trained the next batch is made, except across the end of an epoch: the next
    epoch's images are selected by the losses in `samples` (`new_samples`), which is updated then.
    Random numbers depend on the seed and the step alone, so that a resumed run needs no memory of
    the batches before.
    """
    size, ends = recipe.batch_size, recipe.schedule.epoch_ends
    with ThreadPoolExecutor(1) as pool:
        for epoch in range(int(np.searchsorted(ends, start, side="right")), len(ends)):
            first = ends[epoch - 1] if epoch else 0
            if start <= first:
                samples.update(begin_epoch(samples, recipe, epoch))

            def make(step):
                indices = samples["order"][(step - first) * size:(step - first + 1) * size].copy()
                rng = np.random.RandomState([recipe.seed, epoch, step])
                return indices, training_batch(images[indices], samples["flipped"][indices], recipe,
                                               step / ends[-1], rng)

            coming = pool.submit(make, max(start, first))
            for step in range(max(start, first), ends[epoch]):
                indices, batch = coming.result()
                if step + 1 < ends[epoch]:
                    coming = pool.submit(make, step + 1)
                yield epoch, indices, batch
