"""Which training images an epoch sees, in which order, and which of them flipped.

The first epochs see every image. Later ones select hard examples, those with the highest loss when
they were last trained on, which costs nothing to know, and a few of the others, whose losses would
otherwise grow old (after Jiang et al. 2019, selective backpropagation, arXiv 1910.00762;
airbench96_faster asks a second, smaller network instead).
"""
from collections import namedtuple

import numpy as np

from ex03_cifar.recipes import schedule

# What a run remembers of its images; saved with the training state.
# losses: float32 [N], the cross-entropy of each image when it was last trained on
# order: int32 [N], indices of the images, those of the current epoch first
# flipped: bool [N], whether the current epoch shows the image flipped
Samples = namedtuple("Samples", "losses order flipped")


def new_samples(count):
    """Return the `Samples` of `count` images at the beginning of a run.

    The losses are higher than any loss, so an image that was never seen counts as the hardest.
    """
    return Samples(np.full(count, np.finfo(np.float32).max, np.float32),
                   np.zeros(count, np.int32), np.zeros(count, bool))


def begin_epoch(samples, recipe, epoch):
    """Select the images of an epoch by the losses so far and flip those it will see, in place.

    An image is flipped every other time that it is seen, so any two times show it both ways; a
    coin tossed each time would show half of the images the same way twice (Jordan 2024,
    alternating flip, arXiv 2404.00498).
    """
    losses, order, flipped = samples
    rng = np.random.RandomState([recipe.seed, epoch])
    if epoch == 0:
        flipped[:] = rng.rand(len(losses)) < 0.5
    size = schedule(recipe).epoch_sizes[epoch]
    if size < len(losses):
        order[:] = select(losses, rng, size, schedule(recipe).random_images)
    else:
        order[:] = rng.permutation(len(losses))
    seen = order[:size - size % recipe.batch_size]
    flipped[seen] = ~flipped[seen]


def select(losses, rng, size, random_images):
    """Return the indices of all images, int [N]: the `size` selected ones first, in random order.

    Selected are `random_images` drawn from all but the hardest, and the hardest for the rest.

    Args:
        losses: float [N].
        rng: `np.random.RandomState`.
    """
    hardest, others = np.split(np.argsort(-losses, kind="mergesort"), [size - random_images])
    drawn, left_out = np.split(rng.permutation(others), [random_images])
    return np.concatenate([rng.permutation(np.concatenate([hardest, drawn])), left_out])
