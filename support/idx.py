"""Labelled images in the four gzipped idx files of MNIST and of Fashion-MNIST."""
import contextlib
import gzip
import os
import sys

import numpy as np

from support.console import UserError, open_regular, reason

FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def load(data_dir, name, download):
    """Return ((images, labels), (images, labels)), uint8 [N,28,28] and [N]: training and test set.

    Args:
        data_dir: the folder of the files or a Keras home; None for $KERAS_HOME, else ~/.keras.
        name: of the data set's folder in a Keras home.
        download: a function that returns the data set; called where no `data_dir` is given and
            there is none.
    Raises:
        UserError: the data set is missing or damaged.
    """
    home = data_dir or os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    folder = find_folder(home, name)
    try:
        if folder:
            arrays = [read_idx(os.path.join(folder, file)) for file in FILES]
            data = tuple(arrays[:2]), tuple(arrays[2:])
        elif data_dir:
            raise FileNotFoundError("there is no %s" % FILES[0])
        else:
            with contextlib.redirect_stdout(sys.stderr):  # Keras reports its progress
                data = download()
        for images, labels in data:
            if images.shape != (len(labels), 28, 28) or not len(labels) or labels.max() > 9:
                raise ValueError("images and labels do not belong together")
        return data
    except UserError:
        raise
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        raise UserError("%s cannot be read from %s (%s): put %s into a folder and name it with "
                        "--data-dir." % (name, folder or home, reason(error), ", ".join(FILES)))


def find_folder(home, name):
    """Return the folder of the files, `home` or `name` below it as in a Keras home, or None."""
    for below in ("", name, os.path.join("datasets", name)):
        folder = os.path.join(os.path.expanduser(home), below)
        if os.path.isfile(os.path.join(folder, FILES[0])):
            return folder
    return None


def read_idx(path):
    """Return the array uint8 of an idx file (format: the MNIST page of Y. LeCun)."""
    with open_regular(path) as compressed, gzip.open(compressed) as stream:
        content = stream.read()
    dimensions = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4) if dimensions else [-1]
    pixels = np.frombuffer(content, np.uint8, offset=min(4 + 4 * dimensions, len(content)))
    if pixels.size != np.prod(shape):
        raise ValueError("%s is not a complete idx file of unsigned bytes" % os.path.basename(path))
    return pixels.reshape(shape)
