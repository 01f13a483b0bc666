"""What tools/try_fashion.py tries is what its names say, and it does not look at the test set."""
import os
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT, run

from tools import try_fashion

IMAGES = np.repeat(np.arange(10) * 20 + 40, 28 * 28).reshape(10, 28, 28).astype(np.uint8)  # its class tells its grey
TARGETS = np.eye(10, dtype=np.float32)


def trial(folder, data, *arguments):
    return run(sys.executable, "tools/try_fashion.py", *[str(argument) for argument in arguments], "--images", "256",
               "--held-out", "200", "--epochs", "3", "--set", "filters=(4, 8, 8)", "--data-dir", str(data))


def test_a_mixed_picture_is_two_in_the_shares_of_its_targets():
    mixed, targets = try_fashion.mixup(IMAGES, TARGETS, 0.3, np.random.RandomState(0))
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert (targets.argmax(axis=1) == np.arange(10)).all() and targets.max(axis=1).min() < 1
    assert mixed.dtype == np.uint8
    np.testing.assert_allclose(mixed[:, 5, 5], targets @ IMAGES[:, 0, 0], atol=0.51)


def test_a_picture_with_a_part_of_another_has_targets_by_area():
    images, targets = try_fashion.cutmix(np.tile(IMAGES, (20, 1, 1)), np.tile(TARGETS, (20, 1)), 1,
                                         np.random.RandomState(0))
    shares = [[np.mean(image == other) for other in IMAGES[:, 0, 0]] for image in images]
    np.testing.assert_allclose(targets, shares, atol=1e-6)
    assert 0.3 < np.mean(targets.max(axis=1) < 1) < 0.6  # half of them, and a few got their own class


def test_a_moved_picture_is_whole_but_for_its_edge():
    images = np.random.RandomState(1).randint(1, 256, (200, 28, 28)).astype(np.uint8)
    moved = try_fashion.shift(images, 2, np.random.RandomState(0))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)), "constant")
    places = {next((y, x) for y in range(5) for x in range(5)
                   if np.array_equal(one, whole[y:y + 28, x:x + 28])) for one, whole in zip(moved, padded)}
    assert len(places) == 25


def test_most_pictures_are_warped_and_none_much():
    images = np.zeros((1000, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = 200
    warped = try_fashion.warp(images.copy(), 1, np.random.RandomState(3))
    changed = (warped != images).any(axis=(1, 2))
    assert 740 < changed.sum() < 860
    bright = warped[changed].astype(float)
    area = bright.sum(axis=(1, 2)) / 200
    assert 144 * 0.84 < area.min() < 130 and 158 < area.max() < 144 * 1.19  # e ** (2 * 0.08)
    centre = (bright * np.arange(28)).sum(axis=(1, 2)) / bright.sum(axis=(1, 2))
    assert 0.9 < np.abs(centre - 13.5).max() < 1.25  # a pixel, stretched and slanted
    assert np.array_equal(try_fashion.warp(images.copy(), 0, np.random.RandomState(3)), images)


class TheMost:
    """Draws the greatest amount of one kind, and nothing of the others."""

    def __init__(self, kind):
        self.kind = kind

    def random_sample(self, count):
        return np.zeros(count)

    def uniform(self, low, high, shape):
        return np.where(np.arange(6)[:, None] == self.kind, high, np.zeros(shape))


def test_pictures_are_turned_and_moved_as_far_as_it_says():
    images = np.random.RandomState(0).randint(0, 256, (40, 28, 28)).astype(np.uint8)
    turned = try_fashion.warp(images.copy(), 15, TheMost(0)).astype(int)  # by 90 degrees
    np.testing.assert_allclose(turned, np.rot90(images, -1, (1, 2)), atol=1)
    right, down = [try_fashion.warp(images.copy(), 2, TheMost(kind)) for kind in (4, 5)]
    assert np.array_equal(right[:, :, :-2], images[:, :, 2:])
    assert np.array_equal(down[:, :-2], images[:, 2:])


@pytest.fixture(scope="module")
def plain(small_fashion, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trials")
    done = trial(folder, small_fashion, folder / "plain")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_it_trains_saves_and_reports_without_the_test_set(plain, small_fashion, tmp_path):
    folder, stdout = plain
    assert stdout.count("images/s") == 3 and "of 200, cross-entropy" in stdout
    without = shutil.copytree(str(small_fashion), str(tmp_path / "data"))
    for name in os.listdir(without):
        if name.startswith("t10k-images"):
            shutil.copy(os.path.join(without, "train-images-idx3-ubyte.gz"), os.path.join(without, name))
        if name.startswith("t10k-labels"):
            shutil.copy(os.path.join(without, "train-labels-idx1-ubyte.gz"), os.path.join(without, name))
    again = trial(folder, without, tmp_path / "again")
    assert again.stdout.splitlines()[-3:] == stdout.splitlines()[-3:]


def test_a_student_and_an_average_start_from_what_was_trained(plain, small_fashion):
    folder = plain[0]
    done = trial(folder, small_fashion, folder / "student", "--from", folder / "plain", "--average", "--mixup", "0.3",
                 "--teachers", folder / "plain", "--teachers-share", "1")
    assert done.returncode == 0, done.stderr
    done = run(sys.executable, "tools/try_fashion.py", "--compare", str(folder / "plain"), str(folder / "plain"))
    assert done.stdout.splitlines() == plain[1].splitlines()[-3:]  # the mean of two that are one


@pytest.mark.parametrize("arguments, word", [(["--compare", "none"], "no answers"), (["out", "--images", "700"], "900"),
                                             (["out", "--images", "9", "--held-out", "9"], "batch"), ([], "either")])
def test_what_it_cannot_do_is_a_sentence(arguments, word, small_fashion, tmp_path):
    os.makedirs(str(tmp_path / "there"))
    done = run(sys.executable, os.path.join(ROOT, "tools", "try_fashion.py"), "--held-out", "200", "--data-dir",
               str(small_fashion), *arguments, cwd=str(tmp_path / "there"))
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert word in done.stderr.splitlines()[-1]
