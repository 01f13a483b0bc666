"""Evaluation counts right, and the released network is as good as the README says."""
import os
import re
import sys

import numpy as np
import pytest
from conftest import ROOT, run

from ex03_cifar.classifier import RELEASE, fit_temperature, mean_by_picture
from ex03_cifar.evaluate import calibration_error, confusion_matrix


def test_the_calibration_error_of_a_small_example():
    """Two answers at 0.9, one of them right, and two at 0.6, both right: (0.8 + 0.8) / 4."""
    probabilities = np.full((4, 10), 0.1 / 9)
    probabilities[:2, 3] = 0.9
    probabilities[2:] = 0.4 / 9
    probabilities[2:, 5] = 0.6
    assert calibration_error(probabilities, np.array([3, 4, 5, 5])) == pytest.approx(0.4)


def test_the_confusion_matrix_counts_each_pair():
    counts = confusion_matrix(np.array([0, 0, 9, 4]), np.array([0, 3, 9, 0]))
    assert counts.sum() == 4
    assert counts[0, 0] == counts[0, 3] == counts[9, 9] == counts[4, 0] == 1


def test_the_fitted_temperature_undoes_a_known_one():
    """Labels are drawn with the probabilities of softmax(logits); the logits are then doubled."""
    rng = np.random.RandomState(0)
    logits = 2 * rng.randn(20000, 10)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) > rng.rand(20000, 1)).argmax(axis=1)
    assert fit_temperature(2 * logits, labels) == pytest.approx(2, rel=0.05)


def test_logits_are_averaged_picture_by_picture():
    logits = np.arange(50, dtype=np.float32).reshape(5, 10)
    mean = mean_by_picture(logits, [2, 3])
    np.testing.assert_allclose(mean, [logits[:2].mean(axis=0), logits[2:].mean(axis=0)])


def test_the_released_network_reaches_the_accuracy_in_the_readme(real_data, tmp_path):
    assert os.path.exists(os.path.join(RELEASE, "SHA256SUMS"))
    picture = str(tmp_path / "confusion.png")
    done = run(sys.executable, "-m", "ex03_cifar.evaluate", "--confusion", picture,
               timeout=1200)  # 54 TFLOP: more than five minutes on a slow machine that is busy
    assert done.returncode == 0, done.stderr
    accuracy = float(re.match(r"test accuracy ([\d.]+) % over 10000 images", done.stdout).group(1))
    calibration = re.search(r"expected calibration error ([\d.]+) %", done.stdout).group(1)
    assert accuracy >= 93 and float(calibration) <= 2
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        stated = float(re.search(r"test accuracy ([\d.]+) %", readme.read()).group(1))
    assert accuracy == pytest.approx(stated, abs=0.05)  # another processor may round otherwise
    assert os.path.getsize(picture) > 10000
    assert len(re.findall(r"^[A-Z][a-z]+ +1000 ", done.stdout, re.MULTILINE)) == 10


def test_without_data_or_weights_it_says_so(tmp_path):
    done = run(sys.executable, "-m", "ex03_cifar.evaluate", "--checkpoint-dir", str(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: There is no checkpoint in %s" % tmp_path)
    done = run(sys.executable, "-m", "ex03_cifar.evaluate", "--data-dir", str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: CIFAR-10 batch %s" % tmp_path)
