"""Photographs -> small greyscale images as MNIST and Fashion-MNIST have them."""
import numpy as np
from PIL import Image

from support.console import complain
from support.picture import PictureError, read_picture

SIDE = 28               # pixels, of the images
READ_SIDE = 1000        # pixels, to which the shorter side of a photograph may be reduced first
TOLERANCE = 0.05 * 255  # of each channel of the background


def read_all(paths):
    """Return (path, image uint8 [28,28]) of each file; say which files cannot be read."""
    images = []
    for path in paths:
        try:
            images.append((path, centred(read_picture(path, short_side=READ_SIDE))))
        except PictureError as error:
            error.path = path
            complain(error)
    return images


def centred(picture):
    """Return the object in an RGB photograph, uint8 [28,28], bright on a black background.

    As Fashion-MNIST was made (Xiao et al. 2017, arXiv 1708.07747): the background, which has the
    colour of the corners, is trimmed; the longest side is resized to 28 pixels, the shorter one
    padded; intensities are negated where the background is lighter than the object.

    Raises:
        PictureError: there is nothing but background.
    """
    pixels = np.asarray(picture, np.int16)
    background = np.median(pixels[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0).astype(np.int16)
    differs = np.abs(pixels - background).max(axis=2) > TOLERANCE
    rows, columns = [np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0)]
    if not len(rows):
        raise PictureError("plain")
    grey = picture.convert("L").crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    width, height = [max(1, round(SIDE * side / max(grey.size))) for side in grey.size]
    grey = np.asarray(grey.resize((width, height), Image.LANCZOS), np.float32)
    background = background.dot((0.299, 0.587, 0.114))  # in grey
    if grey.mean() < background:
        grey, background = 255 - grey, 255 - background
    contrast = np.clip((grey - background) / (255 - background), 0, 1)
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    image[top:top + height, left:left + width] = np.rint(255 * contrast)
    return image
