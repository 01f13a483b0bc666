"""Labelled images in the four gzipped idx files of MNIST and of Fashion-MNIST."""
import contextlib
import gzip
import os
import sys
import zlib

import numpy as np

from support.console import UserError, reason

FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def load(data_dir, name, load_data):
    """Return ((images, labels), (images, labels)), uint8 [N,28,28] and [N]: training and test set.

    Args:
        data_dir: the folder of the files or a Keras home; None for `keras_home()`.
        name: of the data set's folder in a Keras home.
        load_data: a function that returns Keras' `load_data` of the data set, with which it is
            downloaded where no `data_dir` is given and there is none.
    Raises:
        UserError: the data set is missing or damaged.
    """
    folder = find_folder(data_dir or keras_home(), name, FILES)
    if folder:
        paths = [os.path.join(folder, file) for file in FILES]
        return read_labelled(*paths[:2]), read_labelled(*paths[2:])
    advice = "put %s into a folder and name it with --data-dir" % ", ".join(FILES)
    if data_dir:
        raise UserError("%s is not in %s: %s." % (name, data_dir, advice))
    return download(load_data, name, advice)


def keras_home():
    """Return the folder below which data sets are read and downloaded: $KERAS_HOME or ~/.keras."""
    return os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")


def download(load_data, name, advice):
    """Return a data set as `tf.keras.datasets` downloads it, its files being in `keras_home()`.

    By itself Keras 2 downloads to ~/.keras whatever $KERAS_HOME says (Keras 3 obeys it).

    Args:
        load_data: a function that returns the data set's `load_data`.
        advice: what to do where it cannot be downloaded.
    """
    load = load_data()
    module = vars(sys.modules[load.__module__])
    get_file = module["get_file"]
    module["get_file"] = lambda *arguments, **options: get_file(
        *arguments, **dict(options, cache_dir=keras_home()))
    try:
        os.makedirs(keras_home(), exist_ok=True)  # or another folder is taken
        with contextlib.redirect_stdout(sys.stderr):  # Keras reports its progress
            return load()
    except Exception as error:  # Keras raises those of urllib, tarfile, pickle, or a bare one
        raise UserError("%s is not in %s and cannot be downloaded (%s): %s." % (
            name, os.path.join(keras_home(), "datasets"), reason(error), advice))
    finally:
        module["get_file"] = get_file


def find_folder(home, name, files):
    """Return the folder of `files`, `home` or `name` below it as in a Keras home, or None."""
    for below in ("", name, os.path.join("datasets", name)):
        folder = os.path.join(os.path.expanduser(home), below)
        if any(os.path.exists(os.path.join(folder, file)) for file in files):
            return folder
    return None


def read_labelled(images_path, labels_path):
    """Return the images uint8 [N,28,28] and the labels uint8 [N], 0 to 9, in two idx files."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    wrong = None
    if images.shape[1:] != (28, 28) or not len(images):
        wrong = images_path, "the shape %s, not [N, 28, 28]" % list(images.shape)
    elif labels.shape != images.shape[:1]:
        wrong = labels_path, "the shape %s for %d images" % (list(labels.shape), len(images))
    elif labels.max() > 9:
        wrong = labels_path, "the label %d at image %d, labels are 0 to 9" % (labels.max(),
                                                                             labels.argmax())
    if wrong:
        raise UserError("%s has %s: replace the file." % wrong)
    return images, labels


def read_idx(path):
    """Return the array uint8 of an idx file (format: the MNIST page of Y. LeCun)."""
    try:
        with gzip.open(path) as stream:
            content = stream.read()
        dimensions = content[3] if content[:3] == b"\0\0\x08" else 0
        shape = np.frombuffer(content, ">i4", dimensions, offset=4)
        pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
        if pixels.size != np.prod(shape):
            raise ValueError("it is not a complete idx file of unsigned bytes")
        return pixels.reshape(shape)
    except (OSError, EOFError, zlib.error, IndexError, ValueError) as error:
        raise UserError("%s cannot be read: %s." % (path, reason(error)))
