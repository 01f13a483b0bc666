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
    home = data_dir or keras_home()
    folder = find_folder(home, name)
    if folder:
        data = [read_file(os.path.join(folder, file)) for file in FILES]
        for number in 0, 2:
            check(*data[number:number + 2], names=[os.path.join(folder, file)
                                                   for file in FILES[number:number + 2]])
        return tuple(data[:2]), tuple(data[2:])
    try:
        if data_dir:
            raise FileNotFoundError("there is no %s" % FILES[0])
        return download(load_data())
    except UserError:
        raise
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        raise UserError("%s cannot be read from %s (%s): put %s into a folder and name it with "
                        "--data-dir." % (name, home, reason(error), ", ".join(FILES)))


def keras_home():
    """Return the folder below which data sets are read and downloaded: $KERAS_HOME or ~/.keras."""
    return os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")


def download(load_data):
    """Return what a `load_data` of `tf.keras.datasets` does, its files being in `keras_home()`.

    By itself it downloads to ~/.keras whatever $KERAS_HOME says (Keras 3 obeys it).
    """
    def get_file_at_home(*arguments, **options):
        return get_file(*arguments, **dict(options, cache_dir=keras_home()))

    module = vars(sys.modules[load_data.__module__])
    get_file, module["get_file"] = module["get_file"], get_file_at_home
    try:
        os.makedirs(keras_home(), exist_ok=True)  # or another folder is taken
        with contextlib.redirect_stdout(sys.stderr):  # Keras reports its progress
            return load_data()
    finally:
        module["get_file"] = get_file


def find_folder(home, name):
    """Return the folder of the files, `home` or `name` below it as in a Keras home, or None."""
    for below in ("", name, os.path.join("datasets", name)):
        folder = os.path.join(os.path.expanduser(home), below)
        if any(os.path.isfile(os.path.join(folder, file)) for file in FILES):
            return folder
    return None


def read_file(path):
    """Return what `read_idx` does; what is wrong becomes a UserError that names the file."""
    try:
        return read_idx(path)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError("%s cannot be read: %s." % (path, reason(error)))


def check(images, labels, names):
    """Raise a UserError unless these are images 28x28 and as many labels from 0 to 9."""
    wrong = None
    if images.ndim != 3 or images.shape[1:] != (28, 28) or not len(images):
        wrong = names[0], "the shape %s, not [N, 28, 28]" % list(images.shape)
    elif labels.shape != images.shape[:1]:
        wrong = names[1], "the shape %s for %d images" % (list(labels.shape), len(images))
    elif labels.max() > 9:
        wrong = names[1], "the label %d at image %d, labels are 0 to 9" % (labels.max(),
                                                                          labels.argmax())
    if wrong:
        raise UserError("%s has %s: replace the file." % wrong)


def read_idx(path):
    """Return the array uint8 of an idx file (format: the MNIST page of Y. LeCun)."""
    with gzip.open(path) as stream:
        content = stream.read()
    dimensions = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4) if dimensions else [-1]
    pixels = np.frombuffer(content, np.uint8, offset=min(4 + 4 * dimensions, len(content)))
    if pixels.size != np.prod(shape):
        raise ValueError("it is not a complete idx file of unsigned bytes")
    return pixels.reshape(shape)
