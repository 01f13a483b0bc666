"""Pictures -> views: the 32x32 images of one picture whose answers are averaged."""
from collections import namedtuple

import numpy as np
from PIL import Image

SIDE = 32  # pixels, the side of a view
CORNER = 0.8  # of the shorter side, the side of the squares of a second look

# first: uint8 [A,32,32,3]; further, for where these leave doubt: uint8 [B,32,32,3], B may be 0
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
    square: squashing distorts it and cutting loses its ends; both are done. The further views,
    for where these two leave doubt, are the picture padded, which makes it small, the mirror
    images of the three, and four squares towards the corners, where a small subject may be.
    """
    if picture.size == (SIDE, SIDE):
        views = cifar_views(np.asarray(picture)[None])[0]
        return Views(views, views[:0])
    whole = squashed(picture)
    if picture.width == picture.height:  # squashed, cut and padded are the same: move it instead
        three = cifar_views(whole[None])[0, :3]
    else:
        three = np.stack([whole, squashed(picture, square(picture, 1, 0.5, 0.5)), padded(picture)])
    corners = [squashed(picture, square(picture, CORNER, x, y)) for x in (0, 1) for y in (0, 1)]
    return Views(three[:2], np.concatenate([three[2:], three[:, :, ::-1], corners]))


def squashed(picture, box=None):
    """Return `box` (left, top, right, bottom; by default all) of a picture as a view."""
    return resized(picture, (SIDE, SIDE), box or (0, 0) + picture.size)


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


def padded(picture):
    """Return the whole picture in its proportions as a view, its border pixels drawn outwards."""
    longer = max(picture.size)
    width, height = [max(1, int(round(SIDE * length / longer))) for length in picture.size]
    pixels = resized(picture, (width, height), (0, 0) + picture.size)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    return np.pad(pixels, ((top, SIDE - height - top), (left, SIDE - width - left), (0, 0)), "edge")
