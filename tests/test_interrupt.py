"""Ctrl-C while TensorFlow is being imported: quiet, whatever becomes of the exception in C code."""
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, hear_interrupts

STAND_IN = '''
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    raise ImportError("initialization failed")
'''


@pytest.mark.parametrize("command", [
    ["ex01_filters.py"], ["ex02_fashion_cnn.py", "--evaluate"], ["-m", "ex03_cifar.train"],
    ["-m", "ex03_cifar.evaluate"], ["predict", "images/avion.jpg"]], ids=" ".join)
def test_an_interrupt_amid_the_import_of_tensorflow_is_quiet(command, tmp_path):
    for package in "tensorflow", "tensorflow/compat", "tensorflow/compat/v1":
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(STAND_IN if package.endswith("v1") else "")
    process = subprocess.Popen([sys.executable] + command, cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, preexec_fn=hear_interrupts,
                               env=dict(os.environ, PYTHONPATH=str(tmp_path)))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert stdout == stderr == b""
