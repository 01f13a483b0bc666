"""Pictures are written whole or not at all, and look the same for everybody."""
import os
import signal
import sys

import pytest
from helpers import FULL, ROOT, run_command
from PIL import Image

from figures.common import save_png, write_whole
from support.console import UserError

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other limits, links and signals")


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="file cannot be written: No space left on device"):
        write_whole(str(path), fail)
    assert [found.name for found in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    """On Windows one that a program has open."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", lambda *paths: open(str(tmp_path)))
    with pytest.raises(UserError, match="file cannot be written: "):
        write_whole(str(path), lambda stream: stream.write(b"new"))
    assert [found.name for found in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


@posix
def test_a_full_disk_leaves_no_unfinished_file(tmp_path):
    code = ("import resource, sys; from figures import common; from support import console; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
            "console.run(lambda: common.write_whole(sys.argv[1], lambda s: s.write(bytes(9999))))")
    done = run_command(sys.executable, "-c", code, str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (
        1, "error: %s cannot be written: File too large.\n" % (tmp_path / "file"))
    assert not list(tmp_path.iterdir())


@posix
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_whole(str(tmp_path / "link"), lambda stream: stream.write(b"new"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_a_png_keeps_its_pixels(tmp_path, capsys):
    picture = Image.radial_gradient("L")
    save_png(picture, str(tmp_path / "a.png"))
    with Image.open(str(tmp_path / "a.png")) as saved:
        assert saved.tobytes() == picture.tobytes()
    assert capsys.readouterr().out == "Wrote %s\n" % (tmp_path / "a.png")


def test_a_matplotlibrc_in_the_current_folder_is_not_obeyed(tmp_path):
    code = ("from figures import common; figure = common.new_figure(1, 1); "
            "figure.text(0, 0, 'x'); common.save_figure(figure, 'a.png')")
    pictures = []
    for folder, text in (("plain", ""), ("odd", "text.usetex: True\nlines.linewidth: 9\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "matplotlibrc").write_text(text)
        done = run_command(sys.executable, "-c", code, cwd=str(tmp_path / folder),
                           env={"PYTHONPATH": ROOT})
        assert (done.returncode, done.stderr) == (0, "")
        pictures.append((tmp_path / folder / "a.png").read_bytes())
    assert pictures[0] == pictures[1]


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
