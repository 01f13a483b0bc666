"""What tools/try_fashion.py tries is what its names say, and it does not look at the test set."""
import os
import shutil
import sys

import numpy as np
import pytest
from helpers import ROOT, run_command

from tools import try_fashion

IMAGES = np.repeat(np.arange(10) * 20 + 40, 28 * 28).reshape(10, 28, 28).astype(np.uint8)  # its class tells its grey
TARGETS = np.eye(10, dtype=np.float32)


def trial(folder, data, *arguments):
    return run_command(sys.executable, "tools/try_fashion.py", *[str(argument) for argument in arguments], "--images", "256",
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
    done = run_command(sys.executable, "tools/try_fashion.py", "--compare", str(folder / "plain"), str(folder / "plain"))
    assert done.stdout.splitlines() == plain[1].splitlines()[-3:]  # the mean of two that are one


@pytest.mark.parametrize("arguments, word", [(["--compare", "none"], "no answers"), (["out", "--images", "700"], "900"),
                                             (["out", "--images", "9", "--held-out", "9"], "batch"), ([], "either")])
def test_what_it_cannot_do_is_a_sentence(arguments, word, small_fashion, tmp_path):
    os.makedirs(str(tmp_path / "there"))
    done = run_command(sys.executable, os.path.join(ROOT, "tools", "try_fashion.py"), "--held-out", "200", "--data-dir",
               str(small_fashion), *arguments, cwd=str(tmp_path / "there"))
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert word in done.stderr.splitlines()[-1]
