"""Pictures are written whole or not at all, and look the same for everybody."""
import os
import signal
import sys

import pytest
from helpers import FULL, ROOT, run_command

from figures import common

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other limits, links and signals")


@posix
def test_a_full_disk_leaves_no_unfinished_file(tmp_path):
    code = ("import resource, sys; from figures import common; from support import console; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
            "console.run(lambda: common.write_whole(sys.argv[1], lambda s: s.write(bytes(9999))))")
    (tmp_path / "file").write_bytes(b"old")
    done = run_command(sys.executable, "-c", code, str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (
        1, "error: %s cannot be written: File too large.\n" % (tmp_path / "file"))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_matplotlibrc_in_the_current_folder_is_not_obeyed(tmp_path):
    code = ("from figures import common; figure = common.new_figure(1, 1); "
            "figure.text(0, 0, 'x'); common.save_figure(figure, 'a.png')")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    done = run_command(sys.executable, "-c", code, cwd=str(tmp_path), env={"PYTHONPATH": ROOT})
    assert (done.returncode, done.stderr) == (0, "")
    figure = common.new_figure(1, 1)
    figure.text(0, 0, "x")
    common.save_figure(figure, str(tmp_path / "b.png"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


STORM = """
import os, sys, threading, time
from figures.common import write_whole
from support import console

def storm():  # a signal, which the system gives to whichever thread it chooses
    time.sleep(0.02 + int(sys.argv[3]) / 700)
    os.kill(os.getpid(), int(sys.argv[2]))

def main():
    write_whole(sys.argv[1], lambda stream: None)
    threading.Thread(target=storm, daemon=True).start()
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
    while True:
        write_whole(sys.argv[1], lambda stream: stream.write(bytes(9999999)))

console.run(main)
"""


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_temporary_file_and_no_false_error(tmp_path, number):
    for delay in range(12 if FULL else 4):
        done = run_command(sys.executable, "-c", STORM, str(tmp_path / "file"), str(int(number)),
                           str(delay))
        assert (done.returncode, done.stderr) == (128 + number, "")
        assert [found.name for found in tmp_path.iterdir()] == ["file"]
