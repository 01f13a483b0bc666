"""Labelled pictures in the four gzipped idx files of MNIST and of Fashion-MNIST."""
import gzip
import os

import numpy as np

from support.console import open_regular

FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def find_folder(home, name):
    """Return the folder with the files, `home` or `name` below it as in a Keras home, or None."""
    for below in ("", name, os.path.join("datasets", name)):
        folder = os.path.join(os.path.expanduser(home), below)
        if os.path.isfile(os.path.join(folder, FILES[0])):
            return folder
    return None


def read_folder(folder):
    """Return ((images, labels), (images, labels)), uint8 [N,H,W] and [N]: training and test set.

    Raises:
        ValueError, or OSError and EOFError from gzip: a file is not what its header says.
    """
    arrays = [read_idx(os.path.join(folder, name)) for name in FILES]
    return tuple(arrays[:2]), tuple(arrays[2:])


def read_idx(path):
    """Return the array uint8 in an idx file (format: the MNIST page of Y. LeCun)."""
    with open_regular(path) as compressed, gzip.open(compressed) as stream:
        content = stream.read()
    dimensions = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4) if dimensions else [-1]
    pixels = np.frombuffer(content, np.uint8, offset=min(4 + 4 * dimensions, len(content)))
    if pixels.size != np.prod(shape):
        raise ValueError("%s is no complete idx file of unsigned bytes" % os.path.basename(path))
    return pixels.reshape(shape)
