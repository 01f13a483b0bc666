"""The tools say what they cannot use."""
import os
import shutil

from helpers import ROOT, release, run_streams


def test_a_file_that_is_no_photograph_is_named(tmp_path):
    release(str(tmp_path / "weights"))
    folder = tmp_path / "photos" / "airplane"
    folder.mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, "images", "avion.jpg"), str(folder))
    arguments = [str(tmp_path / "photos"), "--checkpoint-dir", str(tmp_path / "weights")]
    code, out, err = run_streams("tools.measure_photos", arguments)
    assert code == 0 and "airplane         1" in out, err
    (folder / "notes.txt").write_text("no picture")
    code, out, err = run_streams("tools.measure_photos", arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: %s is not a picture" % (folder / "notes.txt"))
