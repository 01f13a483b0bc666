"""CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html): files -> arrays."""
import os
import pickle

import numpy as np

from support.console import UserError, reason
from support.idx import download, find_folder, keras_home

CLASSES = ("Avion", "Automobile", "Oiseau", "Chat", "Cerf",
           "Chien", "Grenouille", "Cheval", "Bateau", "Camion")
TRAIN_FILES = tuple("data_batch_%d" % number for number in range(1, 6))
TEST_FILES = ("test_batch",)
LAYOUTS = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}  # folder, its files' ending

IMAGES_A_FILE = 10000
RECORD_BYTES = 1 + 3 * 32 * 32  # one label, then the red, the green and the blue plane
# All that the files of cifar-10-batches-py name; a pickle could call any function.
PICKLED = "_reconstruct", "ndarray", "dtype"


def load_train(folder=None, count=50000):
    """Return the first `count` training images uint8 [N,32,32,3] and their labels int32 [N].

    Args:
        count: files that hold none of these images are not read.
        folder: of the binary version, the Python version or both; by default the Keras home,
            where `keras.datasets.cifar10.load_data()` downloads the data set if need be.
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

    At random, but always the same ones, so that runs with different seeds can be compared. (The
    last thousand of CIFAR-10 are two points easier than the test images.)
    """
    held_out = np.zeros(len(images), bool)
    held_out[np.random.RandomState(0).permutation(len(images))[:count]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def find_layout(home):
    """Return (folder, its files' ending) of CIFAR-10 in a folder or in a Keras home, or None."""
    for name, ending in LAYOUTS.items():
        folder = find_folder(home, name, [file + ending for file in TRAIN_FILES + TEST_FILES])
        if folder:
            return folder, ending
    return None


def read_batch(path):
    """Return the images uint8 [10000,32,32,3] and labels int32 [10000] in a file.

    Raises:
        UserError: the file is missing, unreadable, of the wrong size or has a label above 9.
    """
    try:
        labels, planes = (read_records if path.endswith(".bin") else read_pickle)(path)
    except OSError as error:
        raise UserError("CIFAR-10 batch %s cannot be read: %s." % (path, reason(error)))
    if planes.shape != (IMAGES_A_FILE, RECORD_BYTES - 1) or len(labels) != IMAGES_A_FILE:
        raise UserError("CIFAR-10 batch %s has %d bytes, not %d as 10000 images have: replace the "
                        "file." % (path, labels.size + planes.size, IMAGES_A_FILE * RECORD_BYTES))
    if not 0 <= labels.min() <= labels.max() <= 9:
        wrong = np.flatnonzero((labels < 0) | (labels > 9))[0]
        raise UserError("CIFAR-10 batch %s has the label %d at image %d, labels are 0 to 9: "
                        "replace the file." % (path, labels[wrong], wrong))
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int32)


def read_records(path):
    """Return labels uint8 [N] and planes uint8 [N,3072] of a file of the binary version."""
    content = np.fromfile(path, np.uint8)
    if content.size % RECORD_BYTES:
        return content[:0], content
    records = content.reshape(-1, RECORD_BYTES)
    return records[:, 0], records[:, 1:]


def read_pickle(path):
    """Return labels int [N] and planes uint8 [N,3072] of a file of the Python version."""
    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module.split(".")[0] != "numpy" or name not in PICKLED:
                raise pickle.UnpicklingError("it names %s.%s" % (module, name))
            return super(Unpickler, self).find_class(module, name)

    with open(path, "rb") as stream:
        try:
            batch = Unpickler(stream, encoding="bytes").load()
            planes = batch[b"data"].astype(np.uint8, "C", "safe")
            return np.array(batch[b"labels"], np.int64), planes
        except (OSError, MemoryError):  # which does not show that the file is damaged
            raise
        except Exception as error:  # a damaged pickle raises anything
            raise UserError("CIFAR-10 batch %s is damaged (%s): replace the file."
                            % (path, reason(error)))


def _load(folder, files, keras_split):
    """Return the images and labels in `files`; without a folder, download them if need be."""
    layout = find_layout(folder or keras_home())
    if layout:
        batches = [read_batch(os.path.join(layout[0], name + layout[1])) for name in files]
        return tuple(map(np.concatenate, zip(*batches)))
    if folder:
        raise UserError("%s holds neither CIFAR-10's binary version (data_batch_1.bin ...) nor its "
                        "Python version (data_batch_1 ...)." % folder)
    from support.tf1 import tf
    images, labels = download(
        lambda: tf.keras.datasets.cifar10.load_data, "CIFAR-10",
        "unpack cifar-10-binary.tar.gz or cifar-10-python.tar.gz from "
        "https://www.cs.toronto.edu/~kriz/cifar.html there")[keras_split]
    return np.ascontiguousarray(images), labels.reshape(-1).astype(np.int32)
