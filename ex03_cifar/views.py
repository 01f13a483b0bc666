"""Pictures -> views: the small images of one picture whose logits are averaged.

The views of a picture are a list of uint8 [A,S,S,3]: a classifier is asked about the first ones,
and about each further ones while it is in doubt.
"""
import numpy as np
from PIL import Image

from ex03_cifar import SIDE

WHOLE_SIDE, SMALL_SIDE, SQUARE_SIDE = 40, 24, 48  # pixels, of a photograph's three views
MARGIN = 12  # levels of 256; rows and columns that differ by no more are a plain margin
LEAST = 8  # pixels, what at least remains of a picture between its margins
SQUARE_CROP = 0.9  # the side of the crop of a picture that is square, relative to its side


def cifar_views(images):
    """Return the views of CIFAR-10 images that are averaged: uint8 [N,32,32,3] -> [N,6,32,32,3].

    The image, the image shifted by one pixel down and right, and up and left, and these three
    flipped horizontally (Jordan 2024, arXiv 2404.00498).
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    shifted = [padded[:, offset:offset + SIDE, offset:offset + SIDE] for offset in (1, 0, 2)]
    return np.stack(shifted + [view[:, :, ::-1] for view in shifted], axis=1)


def picture_views(picture):
    """Return the views of a Pillow image in RGB of any size, a list of uint8 [A,S,S,3].

    A picture of CIFAR-10's size has the views that `evaluate` gives it. Any other one is resized
    to a square: squashing distorts it, cropping loses its ends. Its views are the whole picture,
    squashed, then the same but small, then a square crop, large. In most photographs the object
    fills less of the picture than in the training images; a larger view gives it the size that it
    has in training (Touvron et al. 2019, arXiv 1906.06423). A close-up has it in the small view.
    The network can process any size because it is convolutional.
    """
    if picture.size == (SIDE, SIDE):
        return [cifar_views(np.asarray(picture)[None])[0]]
    picture = without_margins(picture)
    side = min(picture.size) * (SQUARE_CROP if picture.width == picture.height else 1)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    views = (squashed(picture, side=WHOLE_SIDE), squashed(picture, side=SMALL_SIDE),
             squashed(picture, (left, top, left + side, top + side), SQUARE_SIDE))
    return [view[None] for view in views]


def without_margins(picture):
    """Return a Pillow image in RGB without the plain rows and columns at its edges.

    Screenshots, scans and framed pictures have margins of one colour, which are not the
    photograph. A row or column is plain if no channel varies in it by more than MARGIN levels.
    """
    pixels, (width, height) = np.asarray(picture), picture.size
    top, bottom, left, right, before = 0, height, 0, width, None
    while before != (top, bottom, left, right):
        before = top, bottom, left, right
        top, bottom = between_plain(pixels[top:bottom, left:right], top)
        left, right = between_plain(pixels[top:bottom, left:right].swapaxes(0, 1), left)
    return picture.crop((left, top, right, bottom))


def between_plain(lines, first):
    """Return (begin, end), counted from `first`, of `lines` uint8 [N,M,3] but the plain ends.

    Of lines that are all plain, or of which too few would remain, none is left out.
    """
    varied = np.flatnonzero((lines.max(axis=1) - lines.min(axis=1)).max(axis=1) > MARGIN)
    if not len(varied) or varied[-1] - varied[0] < LEAST:
        return first, first + len(lines)
    return first + int(varied[0]), first + int(varied[-1]) + 1


def squashed(picture, box=None, side=SIDE):
    """Return `box` (left, top, right, bottom; default: all) of a picture as uint8 [side,side,3].

    Pillow's filters widen as the picture shrinks and so do not alias. Which direction it resizes
    first depends on its version and changes the rounding; two calls fix the order.
    """
    left, top, right, bottom = box or (0, 0) + picture.size
    height = picture.height
    rows = picture.resize((side, height), Image.BICUBIC, (left, 0, right, height))
    return np.asarray(rows.resize((side, side), Image.BICUBIC, (0, top, side, bottom)))
