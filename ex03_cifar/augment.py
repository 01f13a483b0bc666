"""Augmentation: pure functions of (images, rng), images uint8 [N,32,32,3] in and out."""
import numpy as np


def shift(images, rng, most=2):
    """Move each image by up to `most` pixels along both axes; the border is mirrored inwards."""
    count, height, width, _ = images.shape
    rows = rng.randint(0, 2 * most + 1, count)[:, None] + np.arange(height)
    columns = rng.randint(0, 2 * most + 1, count)[:, None] + np.arange(width)
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), "reflect")
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def mirror(images, chosen):
    """Mirror left and right the images where `chosen`, bool [N], is true."""
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def alternating_mirror(images, starts, epoch):
    """Mirror every image in one epoch and not in the next.

    An image is then seen both ways in any two epochs, where a coin thrown each time shows half
    of the images the same way twice (Jordan 2024, arXiv 2404.00498).

    Args:
        starts: int [N], 0 or 1, drawn once a run: whether the image is mirrored in even epochs.
        epoch: the epoch's number.
    """
    return mirror(images, (starts + epoch) % 2 == 1)


def cutout(images, rng, size, fill=(125, 123, 114)):
    """Cover a square of `size` pixels with the mean colour (DeVries and Taylor, arXiv 1708.04552)."""
    count, height, width, _ = images.shape
    top = rng.randint(0, height - size + 1, count)[:, None]
    left = rng.randint(0, width - size + 1, count)[:, None]
    rows, columns = np.arange(height), np.arange(width)
    covered = (((rows >= top) & (rows < top + size))[:, :, None]
               & ((columns >= left) & (columns < left + size))[:, None, :])
    return np.where(covered[..., None], np.array(fill, np.uint8), images)
