"""Pictures -> views: the 32x32 images of one picture whose answers are averaged."""
import numpy as np
from PIL import Image, ImageOps

SIDE = 32  # pixels, the side of a view


def cifar_views(images):
    """Return the views of CIFAR-10 images that are averaged: uint8 [N,32,32,3] -> [N,6,32,32,3].

    The image, the image moved by one pixel along each diagonal direction that counts (up and
    left, down and right), and the mirror images of these three (Jordan 2024, arXiv 2404.00498).
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    moved = [padded[:, offset:offset + SIDE, offset:offset + SIDE] for offset in (1, 0, 2)]
    return np.stack(moved + [view[:, :, ::-1] for view in moved], axis=1)


def views(picture):
    """Return the views uint8 [V,32,32,3] of a Pillow image in RGB, their answers to be averaged."""
    if picture.size == (SIDE, SIDE):
        return cifar_views(np.asarray(picture)[None])[0]
    square = ImageOps.fit(picture, (SIDE, SIDE), Image.LANCZOS)
    whole = picture.resize((SIDE, SIDE), Image.LANCZOS)
    return cifar_views(np.stack([np.asarray(square), np.asarray(whole)])).reshape(-1, SIDE, SIDE, 3)
