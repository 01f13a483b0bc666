"""Pictures -> views: the small images of one picture whose answers are averaged."""
from collections import namedtuple

import numpy as np
from PIL import Image

SIDE = 32  # pixels, of CIFAR-10's images
PHOTO_SIDE = 40  # pixels, of a photograph's views; of 36, 40, 44 and 48 the best for its cost
CLOSER = 0.9  # of its side, what is cut out of a picture that is square already

# first: uint8 [A,S,S,3]; further, for where these leave doubt: uint8 [B,S,S,3], B may be 0
Views = namedtuple("Views", "first further")


def cifar_views(images):
    """Return the views of CIFAR-10 images that are averaged: uint8 [N,32,32,3] -> [N,6,32,32,3].

    The image, the image moved by one pixel along each diagonal direction that counts (up and
    left, down and right), and the mirror images of these three (Jordan 2024, arXiv 2404.00498).
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    moved = [padded[:, offset:offset + SIDE, offset:offset + SIDE] for offset in (1, 0, 2)]
    return np.stack(moved + [view[:, :, ::-1] for view in moved], axis=1)


def picture_views(picture):
    """Return the `Views` of a Pillow image in RGB of any size.

    A picture of CIFAR-10's size has those that `evaluate` gives it. Another one has to become a
    square: squashing distorts it and cutting loses its ends; the answer is that for the squashed
    one, and where it leaves doubt both and their mirror images are looked at. They are larger
    than what the network was trained on, which it can look at because it is convolutional: in a
    photograph the object fills less of the picture, and looks as large as in training only so
    (Touvron et al. 2019, arXiv 1906.06423).
    """
    if picture.size == (SIDE, SIDE):
        views = cifar_views(np.asarray(picture)[None])[0]
        return Views(views, views[:0])
    whole = squashed(picture, side=PHOTO_SIDE)
    scale = CLOSER if picture.width == picture.height else 1
    cut = squashed(picture, square(picture, scale, 0.5, 0.5), PHOTO_SIDE)
    return Views(whole[None], np.stack([cut, whole[:, ::-1], cut[:, ::-1]]))


def squashed(picture, box=None, side=SIDE):
    """Return `box` (left, top, right, bottom; by default all) of a picture as a square view."""
    return resized(picture, (side, side), box or (0, 0) + picture.size)


def resized(picture, size, box):
    """Return `box` of a picture as uint8 [H,W,3], `size` being (W, H).

    Pillow's filters widen with the reduction and so do not alias. Which direction comes first
    depends on Pillow's version, and the rounding between the two shows; here the rows do.
    """
    left, top, right, bottom = box
    rows = picture.resize((size[0], picture.height), Image.BICUBIC, (left, 0, right, picture.height))
    return np.asarray(rows.resize(size, Image.BICUBIC, (0, top, size[0], bottom)))


def square(picture, scale, x, y):
    """Return the box of a square, `scale` of the shorter side; x, y in [0,1] say where."""
    side = scale * min(picture.size)
    left, top = (picture.width - side) * x, (picture.height - side) * y
    return left, top, left + side, top + side
