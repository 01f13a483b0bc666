"""Genuine TensorFlow 1.15 and today's TensorFlow give the same predictions and losses.

These tests compare the Python that runs them with the one that $OTHER_PYTHON names; `.ci/run`
runs them on Python 3.7 against 3.10 or later.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from helpers import ROOT, TRAIN, run_command, small_run

OTHER = os.environ.get("OTHER_PYTHON")
PHOTOS = os.path.join(os.path.dirname(ROOT), "shared", "photos")

pytestmark = pytest.mark.skipif(not OTHER, reason="$OTHER_PYTHON names no second Python")


def both(*command, **options):
    """Run a command of the repository with either Python; return what each printed."""
    done = [run_command(python, *command, **options) for python in (sys.executable, OTHER)]
    for process in done:
        assert process.returncode == 0, process.stderr
    return [process.stdout for process in done]


def test_they_are_two_generations():
    ask = "import tensorflow as tf; print(tf.__version__)"
    versions = [run_command(python, "-c", ask).stdout[:2]
                for python in (sys.executable, OTHER)]
    assert sorted(versions) == ["1.", "2."]


def test_fashion_mnist_is_evaluated_alike(tmp_path):
    if not os.path.isdir(os.path.join(os.environ.get("KERAS_HOME", ""), "datasets")):
        pytest.skip("Fashion-MNIST is not in $KERAS_HOME")
    accuracies = [float(re.search(r"Test accuracy: ([\d.]+) %", text).group(1)) for text in
                  both("ex02_fashion_cnn.py", "--evaluate", "--output-dir", str(tmp_path),
                       timeout=1200)]
    assert abs(accuracies[0] - accuracies[1]) <= 0.02


def test_every_picture_gets_the_same_class_and_the_same_probabilities():
    pictures = sorted(glob.glob(os.path.join(PHOTOS, "*", "*.jpg"))
                      or glob.glob(os.path.join(ROOT, "images", "*.jpg")))
    predictions = [[json.loads(line) for line in text.splitlines()]
               for text in both("predict", "--json", "--exact", *pictures)]
    assert len(predictions[0]) == len(predictions[1]) == len(pictures) > 0
    for first, second in zip(*predictions):
        assert first["path"] == second["path"] and first["class"] == second["class"]
        for name, probability in first["probabilities"].items():
            assert abs(probability - second["probabilities"][name]) < 0.001, first["path"]


def test_training_goes_on_from_the_same_state_with_the_same_losses(small_data, tmp_path):
    """One run is cut off after its first steps; both Pythons take it to its end, 16 steps."""
    def command(folder):
        return ["-m", TRAIN] + small_run(small_data, folder, (8, 16, 16), epochs=2, batch_size=50)

    begun = str(tmp_path / "begun")
    process = subprocess.Popen([OTHER] + command(begun), cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    while not glob.glob(os.path.join(begun, "state", "step-*", "SHA256SUMS")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    losses = []
    for number, python in enumerate((sys.executable, OTHER)):
        folder = str(tmp_path / str(number))
        shutil.copytree(begun, folder)
        done = run_command(python, *command(folder))
        assert done.returncode == 0 and "Resuming from step" in done.stdout, done.stderr
        losses.append(list(map(float, re.findall(r"training loss ([\d.]+)", done.stdout))))
    assert len(losses[0]) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
