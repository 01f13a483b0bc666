"""What the README promises of ex01_filters.py, on real files, with SciPy as the second opinion."""
import os
import sys

import numpy as np
import pytest
import scipy.ndimage
from helpers import ROOT, run_command
from PIL import Image

import ex01_filters

SCRIPT = os.path.join(ROOT, "ex01_filters.py")
IMAGES = os.path.join(ROOT, "images")
RESULTS = "ex01_horizontal.png", "ex01_vertical.png", "ex01_filters.png"


@pytest.fixture
def ended(ending):
    """Return a function that runs the program: -> (exit code, stdout, stderr)."""
    return lambda *words: ending(lambda: ex01_filters.main([str(word) for word in words]))


def scipy_patterns(luma):
    """uint8 [2, rows, columns] by SciPy, in integers; 'nearest' repeats the outermost pixels."""
    luma = np.asarray(luma).astype(np.int64)
    responses = [scipy.ndimage.sobel(luma, axis, mode="nearest") for axis in (0, 1)]
    return np.minimum(np.abs(responses), 255).astype(np.uint8)


def photo():
    """A corner of the source, RGB, small and of odd size."""
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        return source.convert("RGB").crop((231, 60, 292, 97))


def test_the_committed_results_equal_scipy_and_a_run_leaves_them_as_they_are(tmp_path):
    """Started from elsewhere, on a simpler machine."""
    done = run_command(sys.executable, SCRIPT, "--output-dir", str(tmp_path), cwd=str(tmp_path),
                       env={"TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        expected = scipy_patterns(source.convert("L"))
    for name in RESULTS:
        assert str(tmp_path / name) in done.stdout
        with open(os.path.join(IMAGES, name), "rb") as committed:
            assert (tmp_path / name).read_bytes() == committed.read()
    for name, pattern in zip(RESULTS, expected):
        with Image.open(str(tmp_path / name)) as found:
            np.testing.assert_array_equal(np.array(found), pattern)


def sobel(luma):
    """uint8 [2, rows, columns] by the exercise."""
    filters = [ex01_filters.HORIZONTAL_FILTER, ex01_filters.VERTICAL_FILTER]
    return ex01_filters.apply_filters(luma[np.newaxis], filters)[:, 0]


@pytest.mark.parametrize("shape, strip_pixels", [
    ((1, 1), 100), ((1, 9), 1), ((9, 1), 1), ((37, 53), 100), ((37, 53), 1 << 20)])
def test_any_size_in_any_strips_equals_scipy(monkeypatch, shape, strip_pixels):
    monkeypatch.setattr(ex01_filters, "STRIP_PIXELS", strip_pixels)
    luma = np.random.RandomState(shape[0]).randint(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(sobel(luma), scipy_patterns(luma))


@pytest.mark.parametrize("name, content, words", [
    ("missing.png", None, "does not exist"), ("notes.png", b"no picture", "is not a picture")])
def test_a_bad_picture_gets_one_sentence(tmp_path, ended, name, content, words):
    if content:
        (tmp_path / name).write_bytes(content)
    code, out, err = ended(tmp_path / name, "--output-dir", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err.startswith("error: ") and words in err and name in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path, ended):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = ended("--output-dir", folder)
        assert code == 1 and err.startswith("error: nothing can be written to %s" % folder)
        assert err.count("\n") == 1


def test_a_picture_is_not_replaced_by_its_own_result(tmp_path, ended):
    path = tmp_path / "ex01_vertical.png"
    photo().save(str(path))
    before = path.read_bytes()
    code, _, err = ended(path, "--output-dir", tmp_path)
    assert code == 2 and "--output-dir" in err
    assert path.read_bytes() == before


@pytest.mark.parametrize("text, numbers", [
    ("0 -1 0 -1 5 -1 0 -1 0", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    ("-1,-2,-1,0,0,0,1,2,1", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),  # no option of its own
    ("2", [[2]]),
    (" ".join(["0.25"] + ["0"] * 23 + ["0.5"]), np.diag([0.25, 0, 0, 0, 0.5])),
    ("blur", np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)])
def test_a_kernel_filters_each_colour(tmp_path, ended, text, numbers):
    photo().save(str(tmp_path / "a.png"))
    assert ended("--kernel", text, tmp_path / "a.png", "--output-dir", tmp_path)[0] == 0
    with Image.open(str(tmp_path / "ex01_kernel.png")) as result:
        expected = scipy.ndimage.correlate(np.asarray(photo()).astype(float),
                                           np.array(numbers)[..., np.newaxis], mode="nearest")
        np.testing.assert_array_equal(result, np.clip(np.round(expected), 0, 255))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text, words", [
    ("1 2 3", "3 numbers do not form a square of odd side"), ("1 2 3 4", "4 numbers do not form"),
    ("", "0 numbers do not form"), ("Blur", "is neither numbers nor one of blur")])
def test_what_is_no_kernel_is_a_sentence(tmp_path, ended, text, words):
    code, _, err = ended("--kernel", text, "--output-dir", tmp_path / "out")
    assert code == 2 and words in err and not (tmp_path / "out").exists()
