"""Ctrl-C at bad moments: quiet and in time, whatever becomes of the exception in C code or a lock."""
import os
import signal
import sys

import pytest
from helpers import ROOT, start_command

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
    process = start_command(sys.executable, *command, env=dict(PYTHONPATH=str(tmp_path)))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert stdout == stderr == ""


NEVER_RELEASED = """
import os, signal, threading
from support import console
console.PATIENCE = 1
def main():
    lock = threading.Lock()
    lock.acquire()
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        lock.acquire()
console.run(main)
"""


SWALLOWED = """
import os, signal, time
def build():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        pass
"""


def test_an_interrupt_amid_tensorflows_code_ends_the_process_at_once(tmp_path):
    """Its C++ code turns the exception into another one, prints that, and goes on."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("")
    (tmp_path / "tensorflow" / "nest.py").write_text(SWALLOWED)
    process = start_command(
        sys.executable, "-c", "from support import console\nfrom tensorflow import nest\n"
        "console.PATIENCE = 100\nconsole.run(nest.build)",
        env=dict(PYTHONPATH=os.pathsep.join((str(tmp_path), ROOT))))
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_an_interrupt_that_leaves_a_lock_held_ends_the_process_all_the_same():
    """As TensorFlow's graph may: its lock's release waits for a lock within it."""
    process = start_command(sys.executable, "-c", NEVER_RELEASED)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")
