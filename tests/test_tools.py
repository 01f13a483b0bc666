"""The tools say what they cannot use."""
import os
import shutil
import sys

from helpers import ROOT, release, run_command


def test_a_file_that_is_no_photograph_is_named(tmp_path):
    release(str(tmp_path / "weights"))
    folder = tmp_path / "photos" / "airplane"
    folder.mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, "images", "avion.jpg"), str(folder))
    command = [sys.executable, "tools/measure_photos.py", str(tmp_path / "photos"),
               "--checkpoint-dir", str(tmp_path / "weights")]
    done = run_command(*command, "--output-dir", str(tmp_path / "drawn"))
    assert done.returncode == 0 and "airplane          1" in done.stdout, done.stderr
    assert (tmp_path / "drawn" / "mistakes.png").stat().st_size > 1000
    (folder / "notes.txt").write_text("no picture")
    done = run_command(*command)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: %s is not a picture" % (folder / "notes.txt"))
    assert len(done.stderr.splitlines()) == 1
