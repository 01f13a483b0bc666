"""The real data set is read as published; anything else is refused in a sentence."""
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
from helpers import generated_images

from ex03_cifar import dataset
from support.console import UserError


def test_the_real_data_set_has_its_published_statistics(real_data):
    images, labels = dataset.load_train(real_data)
    assert images.shape == (50000, 32, 32, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert np.bincount(labels).tolist() == [5000] * 10
    means = [images[..., channel].mean(dtype=np.float64) for channel in range(3)]
    np.testing.assert_allclose(means, [125.30691805, 122.95039414, 113.86538318], rtol=1e-9)
    test_images, test_labels = dataset.load_test(real_data)
    assert len(test_images) == 10000 and np.bincount(test_labels).tolist() == [1000] * 10


def test_a_record_is_a_label_and_three_planes(tmp_path):
    record = np.arange(3073) % 251
    record[0] = 7
    path = str(tmp_path / "batch.bin")
    np.tile(record.astype(np.uint8), 10000).tofile(path)
    images, labels = dataset.read_batch(path)
    assert (labels == 7).all()
    for row, column, channel in ((0, 0, 0), (5, 17, 1), (31, 31, 2)):
        assert images[0, row, column, channel] == record[1 + 1024 * channel + 32 * row + column]


def test_held_out_images_are_drawn_from_everywhere_and_the_same_each_time():
    images, labels = np.arange(1000)[:, None], np.arange(1000)
    (kept, kept_labels), (held_out, held_out_labels) = dataset.hold_out(images, labels, 200)
    assert len(held_out) == 200 and set(kept_labels) | set(held_out_labels) == set(range(1000))
    assert np.array_equal(kept[:, 0], kept_labels)
    assert np.array_equal(held_out[:, 0], held_out_labels)
    assert all(10 < np.sum(held_out_labels // 200 == part) < 70 for part in range(5))
    assert np.array_equal(held_out, dataset.hold_out(images, labels, 200)[1][0])


def cut(path):
    os.truncate(path, os.path.getsize(path) - 1)


def mislabel(path):
    with open(path, "r+b") as stream:
        stream.seek(41 * 3073)
        stream.write(b"\x0a")


@pytest.mark.parametrize("damage, sentence", [
    (cut, "has 30729999 bytes"), (mislabel, "has the label 10 at image 41"),
    (os.remove, "cannot be read: No such")])
def test_a_damaged_batch_is_refused(small_data, tmp_path, damage, sentence):
    folder = shutil.copytree(small_data, str(tmp_path / "data"))
    damage(os.path.join(folder, "data_batch_3.bin"))
    with pytest.raises(UserError, match=r"data_batch_3\.bin " + sentence):
        dataset.load_train(folder)


def write_python_version(folder, images, labels):
    """Write all files of the Python version, each with these images first, at random after them."""
    rng = np.random.RandomState(0)
    for name in dataset.TRAIN_FILES + dataset.TEST_FILES:
        pixels = rng.randint(0, 256, (10000, 3072)).astype(np.uint8)
        pixels[:len(images)] = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        with open(os.path.join(str(folder), name), "wb") as stream:
            pickle.dump({b"data": pixels, b"labels": labels.tolist()
                         + rng.randint(0, 10, 10000 - len(labels)).tolist()}, stream)


@pytest.mark.parametrize("below", ["", "cifar-10-batches-py", "datasets/cifar-10-batches-py"])
def test_the_python_version_is_read_wherever_it_was_unpacked(tmp_path, below):
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    images, labels = generated_images(20, seed=1)
    write_python_version(tmp_path / below, images, labels)
    read, read_labels = dataset.load_train(str(tmp_path), count=10020)
    for first in 0, 10000:
        assert np.array_equal(read[first:first + 20], images)
        assert np.array_equal(read_labels[first:first + 20], labels)
    assert read.dtype == np.uint8 and read_labels.dtype == np.int32 and len(read) == 10020


class Calling:
    def __reduce__(self):
        return os.mkdir, ("called",)


@pytest.mark.parametrize("content, sentence", [
    ({b"data": Calling()}, r"is damaged .it names posix.mkdir."), ([], "is damaged"),
    ({b"data": np.zeros((9, 3072), np.uint8), b"labels": [0] * 9}, "has 27657 bytes"),
    ({b"data": np.zeros((10000, 3072), np.uint8), b"labels": [-1] * 10000}, "has the label -1")])
def test_a_pickle_of_something_else_is_refused_and_calls_nothing(
        tmp_path, monkeypatch, content, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="test_batch " + sentence):
        dataset.load_test(str(tmp_path))
    assert os.listdir(str(tmp_path)) == ["test_batch"]


def test_a_folder_of_another_layout_is_named_as_such(tmp_path):
    (tmp_path / "airplane").mkdir()
    with pytest.raises(UserError, match="%s holds neither CIFAR-10's binary" % tmp_path):
        dataset.load_test(str(tmp_path))


def test_without_files_or_network_the_user_is_told_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="CIFAR-10 is not in %s.*unpack cifar-10-bin" % tmp_path):
        dataset.load_test()


def test_what_keras_downloads_is_read_the_same(tmp_path, monkeypatch):
    """Only the download itself is replaced, as Keras unpacks the archive below its cache."""
    from support.tf1 import tf
    folder = tmp_path / "home" / "datasets" / "cifar-10-batches-py"

    def get_file(*arguments, cache_dir, **options):
        assert cache_dir == str(tmp_path / "home") and os.path.isdir(cache_dir)
        folder.mkdir(parents=True)
        write_python_version(folder, *generated_images(20, seed=1))
        return str(folder)
    keras = sys.modules[tf.keras.datasets.cifar10.load_data.__module__]
    monkeypatch.setattr(keras, "get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    images, labels = dataset.load_train()
    for downloaded, read in zip((images, labels), dataset.load_train()):
        assert np.array_equal(downloaded, read) and downloaded.dtype == read.dtype
    assert images.shape == (50000, 32, 32, 3) and images.flags.c_contiguous
    assert np.array_equal(images[10000:10020], generated_images(20, seed=1)[0])
