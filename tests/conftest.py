"""How pytest runs these tests, and what they share: small data sets, weights, a failing import."""
import signal
import sys

import numpy as np
import pytest
from helpers import generated_images, release, write_batch, write_idx

from support import console
from support.environment import cores

# A shell's background job ignores Ctrl-C, and so would the programs that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One more than there are cores: tests wait for processes that start and end."""
    return cores() + 1


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """A folder in CIFAR-10's binary layout; its first 500 training and test images mean something."""
    folder = tmp_path_factory.mktemp("cifar-10-batches-bin")
    write_batch(str(folder / "data_batch_1.bin"), *generated_images(500, seed=1))
    write_batch(str(folder / "test_batch.bin"), *generated_images(500, seed=2))
    for number in range(2, 6):
        write_batch(str(folder / ("data_batch_%d.bin" % number)), *generated_images(1, seed=3))
    return str(folder)


@pytest.fixture(scope="session")
def small_fashion(tmp_path_factory):
    """A folder like Fashion-MNIST, 768 and 100 pictures of noise: a bright bar tells the class."""
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


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real CIFAR-10, in the Keras home; tests that need it say so without it."""
    from ex03_cifar import dataset
    from support.idx import keras_home
    layout = dataset.find_layout(keras_home())
    return layout[0] if layout else pytest.skip("the real CIFAR-10 is not in %s" % keras_home())


@pytest.fixture
def ending(monkeypatch, capsys):
    """Return a function that runs a `main` in this process: -> (exit code, stdout, stderr)."""
    def run(main):
        with pytest.raises(SystemExit) as end:
            console.run(main)
        return (end.value.code,) + tuple(capsys.readouterr())
    monkeypatch.setattr(console, "leave", sys.exit)
    return run


@pytest.fixture(scope="session")
def no_tensorflow(tmp_path_factory):
    """Changes to the environment that put a TensorFlow that fails before the real one."""
    folder = tmp_path_factory.mktemp("stand-in") / "tensorflow"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    return {"PYTHONPATH": str(folder.parent)}


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A folder with the release of an untrained network."""
    folder = str(tmp_path_factory.mktemp("weights"))
    release(folder, seed=0)
    return folder
