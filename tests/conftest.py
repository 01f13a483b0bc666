"""What the tests share: where things are, a small data set, a small network, a TensorFlow that fails."""
import functools
import gzip
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

RECORDS = 10000  # in each file of CIFAR-10's binary version
FULL = bool(os.environ.get("CI_FULL"))  # whether to take the time for all test images
LONG = ("test_train.py", "test_train_kills.py", "test_attacks.py", "test_predict.py",
        "test_ex02_fashion_cnn.py", "test_cluster.py", "test_hardness.py", "test_ex01_filters.py")  # files, the longest first


def pytest_configure(config):
    """Have pytest-xdist keep our order of the files, where it would put many tests first."""
    if getattr(config.option, "loadscopereorder", False):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Begin with the long files, or one worker would end alone with them."""
    items.sort(key=lambda item: LONG.index(item.fspath.basename)
               if item.fspath.basename in LONG else len(LONG))


def run(*command, **options):
    """Run a command from the repository's root; return the finished process with its text."""
    environment = dict(os.environ, **options.pop("env", {}))
    return subprocess.run(command, cwd=options.pop("cwd", ROOT), env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=options.pop("timeout", 300), **options)


def hear_interrupts():
    """A shell's background job, which these tests may be part of, ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write_batch(path, images, labels):
    """Write a file of 10,000 records: these first, black images of class 0 after them."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tofile(path)
    with open(path, "ab") as stream:
        stream.truncate(RECORDS * 3073)


def generated_images(count, seed):
    """Return `count` images of ten classes, each a colour and a height of a square, in noise."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, 10, count)
    images = rng.randint(0, 120, (count, 32, 32, 3))
    for image, label in zip(images, labels):
        row, column = 4 + 5 * (label // 3), rng.randint(4, 18)
        image[row:row + 5, column:column + 7, label % 3] += 120
    return images.astype(np.uint8), labels.astype(np.int32)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """A folder in CIFAR-10's binary layout whose first 500 training and test images mean something."""
    folder = tmp_path_factory.mktemp("cifar-10-batches-bin")
    write_batch(str(folder / "data_batch_1.bin"), *generated_images(500, seed=1))
    write_batch(str(folder / "test_batch.bin"), *generated_images(500, seed=2))
    for number in range(2, 6):
        write_batch(str(folder / ("data_batch_%d.bin" % number)), *generated_images(1, seed=3))
    return str(folder)


def release(folder, seed=0, widths=(8, 16, 16), convolutions=2):
    """Release an untrained network, which answers as formally as any."""
    from support import checkpoint
    session, saver, meta = untrained(seed, widths, convolutions)
    checkpoint.save(folder, session, saver, {".meta": meta})


@functools.lru_cache(maxsize=None)
def untrained(seed, widths, convolutions):
    """Return (session, saver, graph that answers) of a network with random weights."""
    from ex03_cifar.classifier import inference_graph, temperature_variable
    from ex03_cifar.network import network
    from support.tf1 import tf
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(seed)
        kernel = np.random.RandomState(seed).randn(2, 2, 3, 24).astype(np.float32)
        network(tf.placeholder(tf.uint8, [None, 32, 32, 3]), widths, convolutions, training=False,
                first_kernel=kernel)
        temperature_variable()
        session = tf.Session(graph=graph)
        session.run(tf.global_variables_initializer())
        return session, tf.train.Saver(max_to_keep=None), inference_graph(widths, convolutions)


@pytest.fixture(scope="session")
def no_tensorflow(tmp_path_factory):
    """Changes to the environment that put a TensorFlow that fails before the real one."""
    folder = tmp_path_factory.mktemp("stand-in") / "tensorflow"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    return {"PYTHONPATH": str(folder.parent)}


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real CIFAR-10, in the Keras home; tests that need it say so without it."""
    from ex03_cifar import dataset
    if not os.path.isdir(dataset.default_folder()):
        pytest.skip("the real CIFAR-10 is not in %s" % dataset.default_folder())
    return dataset.default_folder()


def write_idx(path, array):
    """Write an array of uint8 as one of Fashion-MNIST's files."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    with gzip.open(str(path), "wb") as file:
        file.write(header + array.tobytes())


@pytest.fixture(scope="session")
def small_fashion(tmp_path_factory):
    """A folder like Fashion-MNIST, of 768 and 100 pictures: a bright bar whose place tells the class, and noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.RandomState(0)
    for name, number in (("train", 768), ("t10k", 100)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        images = rng.randint(0, 120, (number, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels):
            image[2 * label + 4:2 * label + 7, 4:24] = 250
        write_idx(folder / (name + "-images-idx3-ubyte.gz"), images)
        write_idx(folder / (name + "-labels-idx1-ubyte.gz"), labels)
    return folder
