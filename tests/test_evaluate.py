"""The released network is as good as the README says, and what hinders a measurement is told."""
import os
import re
import signal
import time

import numpy as np
import pytest
from helpers import FULL, ROOT, run, start

from ex03_cifar.classifier import RELEASE, mean_by_picture

EVALUATE = "ex03_cifar.evaluate"
OF_1000 = 96.3  # per cent, what the same network has on the first 1,000 test images


def test_logits_are_averaged_picture_by_picture():
    logits = np.arange(50, dtype=np.float32).reshape(5, 10)
    mean = mean_by_picture(logits, [2, 3])
    np.testing.assert_allclose(mean, [logits[:2].mean(axis=0), logits[2:].mean(axis=0)])


def test_the_released_network_reaches_the_accuracy_in_the_readme(real_data, tmp_path):
    """All images take 54 TFLOP, more than five minutes on a slow machine that is busy."""
    assert os.path.exists(os.path.join(RELEASE, "SHA256SUMS"))
    picture, images = str(tmp_path / "confusion.png"), 10000 if FULL else 1000
    code, text = run(EVALUATE, ["--confusion", picture, "--images", str(images)],
                     str(tmp_path / "out"), timeout=1200)
    assert code == 0, text
    accuracy = float(re.match(r"test accuracy ([\d.]+) %% over %d images" % images, text).group(1))
    calibration = re.search(r"expected calibration error ([\d.]+) %", text).group(1)
    assert accuracy >= 93 and float(calibration) <= 2
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        stated = float(re.search(r"test accuracy ([\d.]+) %", readme.read()).group(1))
    # Another processor may round otherwise.
    assert accuracy == (pytest.approx(stated, abs=0.05) if FULL else
                        pytest.approx(OF_1000, abs=0.15))
    assert os.path.getsize(picture) > 10000
    counts = re.findall(r"^[A-Z][a-z]+ +(\d+) ", text, re.MULTILINE)
    assert len(counts) == 10 and sum(map(int, counts)) == images


def test_ctrl_c_ends_it_without_a_traceback(real_data, tmp_path):
    output = str(tmp_path / "out")
    process = start(EVALUATE, ["--confusion", str(tmp_path / "confusion.png")], output)
    time.sleep(3)  # it takes half a minute
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130 and open(output).read() == ""


def test_without_data_or_weights_it_says_so(tmp_path):
    output = str(tmp_path / "out")
    code, text = run(EVALUATE, ["--checkpoint-dir", str(tmp_path)], output)
    assert code == 2 and text.startswith("error: there is no complete checkpoint in %s" % tmp_path)
    code, text = run(EVALUATE, ["--data-dir", str(tmp_path)], output)
    assert code == 1 and text.startswith("error: CIFAR-10 batch %s" % tmp_path)
