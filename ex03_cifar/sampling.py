"""Which training images an epoch sees, in which order, and which of them mirrored.

The first epochs see every image. Later ones see those that had the highest loss when they were
trained on last, which costs nothing to know, and a few of the others, whose losses would grow old
(after Jiang et al. 2019, selective backpropagation, arXiv 1910.00762; airbench96_faster asks a
second, smaller network instead).
"""
from collections import namedtuple

import numpy as np

from ex03_cifar.recipes import epoch_sizes
from ex03_cifar.tf1 import tf

Samples = namedtuple("Samples", "losses order mirrored")


def sample_variables(count):
    """Return what a run must remember of its `count` images, as variables of the current graph.

    They are saved with its state, so that it goes on with the same images after a stop.

    Returns:
        losses: float32 [count], each image's cross-entropy when it was trained on last; at first
            more than any loss, so that an image that was never seen counts as the hardest.
        order: int32 [count], the images' indices, those of the current epoch first.
        mirrored: bool [count], whether the image is mirrored in the current epoch.
    """
    def variable(name, kind, value):
        return tf.get_variable("samples/" + name, [count], kind, tf.constant_initializer(value),
                               trainable=False)

    return Samples(variable("losses", tf.float32, np.finfo(np.float32).max),
                   variable("order", tf.int32, 0), variable("mirrored", tf.bool, False))


def begin_epoch(session, samples, options, epoch):
    """Choose the images of an epoch by the losses so far, and turn those of them round.

    An image is mirrored every other time that it is seen: so it is seen both ways in any two
    times, where a coin thrown each time shows half of the images the same way twice (Jordan 2024,
    alternating flip, arXiv 2404.00498).
    """
    losses, mirrored = session.run([samples.losses, samples.mirrored])
    rng = np.random.RandomState([options["seed"], epoch])
    if epoch == 0:
        mirrored = rng.rand(len(losses)) < 0.5
    size = epoch_sizes(options)[epoch]
    if size < len(losses):
        _, _, others = options["harder"]
        order = harder(losses, rng, size, int(others * len(losses)))
    else:
        order = rng.permutation(len(losses))
    seen = order[:size - size % options["batch_size"]]
    mirrored[seen] = ~mirrored[seen]
    samples.order.load(order, session)
    samples.mirrored.load(mirrored, session)


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
