"""CIFAR-10: files on disk -> images uint8 [N,32,32,3] and labels int32 [N].

The data set is Krizhevsky's (https://www.cs.toronto.edu/~kriz/cifar.html).
"""
import contextlib
import os
import sys

import numpy as np

from support.console import UserError, open_regular, reason

CLASSES = ("Avion", "Automobile", "Oiseau", "Chat", "Cerf",
           "Chien", "Grenouille", "Cheval", "Bateau", "Camion")
TRAIN_FILES = tuple("data_batch_%d.bin" % number for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)

IMAGES_A_FILE = 10000
RECORD_BYTES = 1 + 3 * 32 * 32  # one label, then the red, the green and the blue plane


def default_folder():
    """Return the default folder of the binary version: in $KERAS_HOME, or else in ~/.keras."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "datasets", "cifar-10-batches-bin")


def load_train(folder=None, count=50000):
    """Return the first `count` training images uint8 [N,32,32,3] and their labels int32 [N].

    Args:
        count: files that hold none of these images are not read.
        folder: of the binary version; by default `default_folder()`. Where that does not exist,
            `keras.datasets.cifar10.load_data()` downloads the data set.
    Raises:
        UserError: a file is missing or damaged, or the download failed.
    """
    images, labels = _load(folder, TRAIN_FILES[:-(-count // IMAGES_A_FILE)], 0)
    return images[:count], labels[:count]


def load_test(folder=None):
    """Return the 10,000 test images and labels; arguments and errors as for `load_train`."""
    return _load(folder, TEST_FILES, 1)


def hold_out(images, labels, count):
    """Hold `count` images out: return ((images, labels), (held-out images, held-out labels)).

    They are drawn at random, but always the same, so that runs with different seeds can be
    compared. (The last thousand of CIFAR-10 are two points easier than the test images.)
    """
    held_out = np.zeros(len(images), bool)
    held_out[np.random.RandomState(0).permutation(len(images))[:count]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def read_batch(path, count=IMAGES_A_FILE):
    """Return the `count` images uint8 [count,32,32,3] and labels int32 [count] in a file.

    Raises:
        UserError: the file is missing, unreadable, of the wrong size or has a label above 9.
    """
    try:
        with open_regular(path) as stream:
            records = np.fromfile(stream, np.uint8)
    except OSError as error:
        raise UserError("CIFAR-10 batch %s cannot be read: %s." % (path, reason(error)))
    if records.size != count * RECORD_BYTES:
        raise UserError("CIFAR-10 batch %s has %d bytes, not %d as %d images have: "
                           "replace the file." % (path, records.size, count * RECORD_BYTES, count))
    records = records.reshape(count, RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    if labels.max() > 9:
        raise UserError("CIFAR-10 batch %s has the label %d at image %d, labels are 0 to 9: "
                           "replace the file." % (path, labels.max(), labels.argmax()))
    planes = records[:, 1:].reshape(count, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _load(folder, files, keras_split):
    """Return the images and labels in `files`; without the default folder, download them."""
    folder = folder or default_folder()
    if folder == default_folder() and not os.path.isdir(folder):
        return _download(keras_split)
    batches = [read_batch(os.path.join(folder, name)) for name in files]
    images, labels = zip(*batches)
    return np.concatenate(images), np.concatenate(labels)


def _download(keras_split):
    """Return the training (0) or test (1) split as `keras.datasets` downloads and caches it."""
    from support.tf1 import tf
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras reports its progress
            images, labels = tf.keras.datasets.cifar10.load_data()[keras_split]
    except UserError:
        raise
    except Exception as error:  # Keras raises those of urllib, tarfile, pickle, or a bare one
        raise UserError(
            "CIFAR-10 is not in %s and cannot be downloaded (%s): unpack cifar-10-binary.tar.gz "
            "from https://www.cs.toronto.edu/~kriz/cifar.html in %s."
            % (default_folder(), error, os.path.dirname(default_folder())))
    return np.ascontiguousarray(images), labels.reshape(-1).astype(np.int32)
