"""Pictures are written whole or not at all, and look the same for everybody."""
import sys

import pytest
from conftest import ROOT, run
from PIL import Image

from support.console import UserError
from support.figures import save_png, save_whole


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="file cannot be written: No space left on device"):
        save_whole(str(path), fail)
    assert [found.name for found in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


def test_a_full_disk_leaves_no_unfinished_file(tmp_path):
    code = ("import resource, sys; from support import console, figures; "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
            "console.run(lambda: figures.save_whole(sys.argv[1], lambda s: s.write(bytes(9999))))")
    done = run(sys.executable, "-c", code, str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (
        1, "error: %s cannot be written: File too large.\n" % (tmp_path / "file"))
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    save_whole(str(tmp_path / "link"), lambda stream: stream.write(b"new"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_a_png_keeps_its_pixels(tmp_path, capsys):
    picture = Image.radial_gradient("L")
    save_png(picture, str(tmp_path / "a.png"))
    with Image.open(str(tmp_path / "a.png")) as saved:
        assert saved.tobytes() == picture.tobytes()
    assert capsys.readouterr().out == "Wrote %s\n" % (tmp_path / "a.png")


def test_a_matplotlibrc_in_the_current_folder_is_not_obeyed(tmp_path):
    code = ("from support import figures; figure = figures.new_figure(1, 1); "
            "figure.text(0, 0, 'x'); figures.save_figure(figure, 'a.png')")
    pictures = []
    for folder, text in (("plain", ""), ("odd", "text.usetex: True\nlines.linewidth: 9\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "matplotlibrc").write_text(text)
        done = run(sys.executable, "-c", code, cwd=str(tmp_path / folder), env={"PYTHONPATH": ROOT})
        assert (done.returncode, done.stderr) == (0, "")
        pictures.append((tmp_path / folder / "a.png").read_bytes())
    assert pictures[0] == pictures[1]
