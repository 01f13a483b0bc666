"""Photographs -> small greyscale images as MNIST and Fashion-MNIST have them."""
import numpy as np
from PIL import Image

from support.console import UserError, complain
from support.picture import read_picture

SIDE = 28             # pixels, of the images
READ_SIDE = 1000      # pixels, to which the shorter side of a photograph may be reduced first
GROUND = 0.05 * 255   # what differs less from the ground, in each channel, belongs to it


def read_all(paths):
    """Return (path, image uint8 [28,28]) of each file; say which files cannot be read."""
    images = []
    for path in paths:
        try:
            images.append((path, centred(read_picture(path, short_side=READ_SIDE))))
        except ValueError as error:
            complain("%s %s." % (path, error))
        except UserError as error:
            complain(error)
    return images


def centred(picture):
    """Return the thing that an RGB photograph shows, uint8 [28,28], bright on a black ground.

    As Fashion-MNIST was made (Xiao et al. 2017, arXiv 1708.07747): the ground, which has the
    colour of the corners, is trimmed; the longest side becomes 28 pixels, the shorter one is
    extended; and what is on a light ground is negated.

    Raises:
        ValueError: there is nothing but ground.
    """
    pixels = np.asarray(picture, np.int16)
    ground = np.median(pixels[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0).astype(np.int16)
    thing = np.abs(pixels - ground).max(axis=2) > GROUND
    rows, columns = [np.flatnonzero(thing.any(axis=axis)) for axis in (1, 0)]
    if not len(rows):
        raise ValueError("shows nothing but one colour")
    grey = picture.convert("L").crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    width, height = [max(1, round(SIDE * side / max(grey.size))) for side in grey.size]
    grey = np.asarray(grey.resize((width, height), Image.LANCZOS), np.float32)
    ground = ground.dot((0.299, 0.587, 0.114))
    if grey.mean() < ground:
        grey, ground = 255 - grey, 255 - ground
    contrast = np.clip((grey - ground) / (255 - ground), 0, 1)
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    image[top:top + height, left:left + width] = np.rint(255 * contrast)
    return image
