"""The tools say what they cannot use."""
import os
import shutil

from helpers import ROOT, release, run


def test_a_file_that_is_no_photograph_is_named(tmp_path):
    release(str(tmp_path / "weights"))
    folder = tmp_path / "photos" / "airplane"
    folder.mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, "images", "avion.jpg"), str(folder))
    arguments = [str(tmp_path / "photos"), "--checkpoint-dir", str(tmp_path / "weights")]
    code, text = run("tools.measure_photos", arguments)
    assert code == 0 and "airplane         1" in text, text
    (folder / "notes.txt").write_text("no picture")
    code, text = run("tools.measure_photos", arguments)
    assert code == 1 and text.count("\n") == 1
    assert text.startswith("error: %s is not a picture" % (folder / "notes.txt"))
