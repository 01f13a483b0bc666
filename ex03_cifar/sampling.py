"""Which training images an epoch sees, in which order, and which of them mirrored.

The first epochs see every image. Later ones see those that had the highest loss when they were
trained on last, which costs nothing to know, and a few of the others, whose losses would grow old
(after Jiang et al. 2019, selective backpropagation, arXiv 1910.00762; airbench96_faster asks a
second, smaller network instead).
"""
from collections import namedtuple

import numpy as np

from ex03_cifar.recipes import epoch_sizes

# What a run remembers of its images; saved with its state, so that it goes on with the same.
# losses: float32 [N], each image's cross-entropy when it was trained on last
# order: int32 [N], the images' indices, those of the current epoch first
# mirrored: bool [N], whether the image is mirrored in the current epoch
Samples = namedtuple("Samples", "losses order mirrored")


def new_samples(count):
    """Return the `Samples` of `count` images at the beginning of a run.

    The losses are more than any loss, so that an image that was never seen counts as the hardest.
    """
    return Samples(np.full(count, np.finfo(np.float32).max, np.float32),
                   np.zeros(count, np.int32), np.zeros(count, bool))


def begin_epoch(samples, recipe, epoch):
    """Choose the images of an epoch by the losses so far, and turn those of them round, in place.

    An image is mirrored every other time that it is seen: so it is seen both ways in any two
    times, where a coin thrown each time shows half of the images the same way twice (Jordan 2024,
    alternating flip, arXiv 2404.00498).
    """
    losses, order, mirrored = samples
    rng = np.random.RandomState([recipe.seed, epoch])
    if epoch == 0:
        mirrored[:] = rng.rand(len(losses)) < 0.5
    size = epoch_sizes(recipe)[epoch]
    if size < len(losses):
        order[:] = harder(losses, rng, size, int(recipe.selection.others * len(losses)))
    else:
        order[:] = rng.permutation(len(losses))
    seen = order[:size - size % recipe.batch_size]
    mirrored[seen] = ~mirrored[seen]


def harder(losses, rng, size, others):
    """Order images by loss: `size` of them first, in random order, then those left out.

    The first are those of the highest loss and `others` that are drawn from the rest.

    Args:
        losses: float [N].
    Returns:
        int [N], the images' indices.
    """
    hardest, rest = np.split(np.argsort(-losses, kind="mergesort"), [size - others])
    drawn, left_out = np.split(rng.permutation(rest), [others])
    return np.concatenate([rng.permutation(np.concatenate([hardest, drawn])), left_out])
