"""What the README promises of ex01_filters.py, on real files, with SciPy as the second opinion."""
import os
import sys

import numpy as np
import pytest
import scipy.ndimage
from helpers import ROOT, run_command
from PIL import Image

import ex01_filters
from support.tf1 import tf

SCRIPT = os.path.join(ROOT, "ex01_filters.py")
IMAGES = os.path.join(ROOT, "images")
RESULTS = ("ex01_horizontal.png", "ex01_vertical.png")
# Regions (left, top, right, bottom) of source.jpg.
DECK, RIPPLES = (300, 332, 660, 355), (330, 520, 630, 636)
PYLONS = ((246, 150, 279, 320), (682, 150, 715, 320))
HANGERS = ((284, 262, 350, 326), (610, 262, 676, 326))


def run(*arguments, **options):
    """The script as a user starts it; text output."""
    return run_command(sys.executable, SCRIPT, *map(str, arguments), **options)


@pytest.fixture
def ended(ending):
    """Return a function that runs the program: -> (exit code, stdout, stderr)."""
    return lambda *words: ending(lambda: ex01_filters.main([str(word) for word in words]))


def scipy_patterns(luma):
    """uint8 [2, rows, columns] by SciPy, in integers; 'nearest' repeats the outermost pixels."""
    luma = np.asarray(luma).astype(np.int64)
    responses = [scipy.ndimage.sobel(luma, axis, mode="nearest") for axis in (0, 1)]
    return np.minimum(np.abs(responses), 255).astype(np.uint8)


def pixels(folder, name):
    with Image.open(os.path.join(str(folder), name)) as picture:
        assert picture.mode == "L"
        return np.array(picture)


def contents(folder, names=RESULTS + ("ex01_filters.png",)):
    return [open(os.path.join(str(folder), name), "rb").read() for name in names]


def photo():
    """A corner of the source, RGB, small and of odd size."""
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        return source.convert("RGB").crop((231, 60, 292, 97))


@pytest.fixture(scope="session")
def default_run(tmp_path_factory):
    """The folder into which the script, started from elsewhere, filtered images/source.jpg."""
    folder = tmp_path_factory.mktemp("default")
    done = run("--output-dir", folder, cwd=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(str(folder / name) in done.stdout for name in RESULTS + ("ex01_filters.png",))
    return folder


def test_a_run_leaves_the_committed_results_as_they_are(default_run):
    assert contents(default_run) == contents(IMAGES)


def test_results_equal_scipy(default_run):
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        expected = scipy_patterns(source.convert("L"))
    for name, pattern in zip(RESULTS, expected):
        np.testing.assert_array_equal(pixels(default_run, name), pattern)


def test_one_thread_without_onednn_changes_no_byte(default_run, tmp_path):
    done = run("--output-dir", tmp_path, env=dict(
        TF_ENABLE_ONEDNN_OPTS="0", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1"))
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == contents(default_run)


def test_each_result_shows_its_patterns_and_loses_the_others(default_run):
    horizontal, vertical = [pixels(default_run, name).astype(float) for name in RESULTS]

    def mean(pattern, box):
        left, top, right, bottom = box
        return pattern[top:bottom, left:right].mean()

    for box in (DECK, RIPPLES):
        assert mean(horizontal, box) > 50 and mean(horizontal, box) > 2.5 * mean(vertical, box)
    for box in PYLONS + HANGERS:
        assert mean(vertical, box) > 50 and mean(vertical, box) > 4 * mean(horizontal, box)


def sobel(luma):
    """uint8 [2, rows, columns] by the exercise."""
    filters = [ex01_filters.HORIZONTAL_FILTER, ex01_filters.VERTICAL_FILTER]
    return np.moveaxis(ex01_filters.apply_filters(luma[np.newaxis], filters)[0], -1, 0)


def test_the_graph_is_one_conv2d_with_both_filters(monkeypatch):
    graphs, build = [], ex01_filters.build_graph
    monkeypatch.setattr(ex01_filters, "build_graph",
                        lambda *given: graphs.append(build(*given)) or graphs[-1])
    sobel(np.zeros((5, 5), np.uint8))
    (graph, placeholder, responses), = graphs
    convolution, = [op for op in graph.get_operations() if op.type == "Conv2D"]
    assert placeholder.dtype.name == responses.dtype.name == "uint8"
    with tf.Session(graph=graph) as session:
        kernel = session.run(convolution.inputs[1])
    assert kernel.shape == (3, 3, 1, 2)
    np.testing.assert_array_equal(kernel[:, :, 0, 0], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    np.testing.assert_array_equal(kernel[:, :, 0, 1], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


@pytest.mark.parametrize("shape, strip_pixels", [
    ((1, 1), 100), ((1, 9), 1), ((9, 1), 1), ((37, 53), 100), ((37, 53), 1 << 20), ((300, 7), 100)])
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


def numpy_kernel(picture, kernel):
    """uint8 [rows, columns, 3]: each window of each colour times the kernel, by NumPy alone."""
    side = len(kernel)
    border = side // 2
    bordered = np.pad(np.asarray(picture).astype(float), ((border,) * 2, (border,) * 2, (0, 0)),
                      mode="edge")
    total = sum(kernel[row, column] * bordered[row:row + picture.height,
                                               column:column + picture.width]
                for row in range(side) for column in range(side))
    return np.clip(np.round(total), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("text, numbers", [
    ("0 -1 0 -1 5 -1 0 -1 0", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    ("-1,-2,-1,0,0,0,1,2,1", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),  # no option of its own
    ("2", [[2]]),
    (" ".join(["0.25"] + ["0"] * 23 + ["0.5"]), np.diag([0.25, 0, 0, 0, 0.5])),
    ("identity", [[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    ("blur", np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16),
    ("sharpen", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    ("emboss", [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
    ("outline", [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])])
def test_a_kernel_filters_each_colour(tmp_path, ended, text, numbers):
    photo().save(str(tmp_path / "a.png"))
    assert ended("--kernel", text, tmp_path / "a.png", "--output-dir", tmp_path)[0] == 0
    with Image.open(str(tmp_path / "ex01_kernel.png")) as result:
        np.testing.assert_array_equal(np.array(result), numpy_kernel(photo(), np.array(numbers)))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text, words", [
    ("1 2 3", "3 numbers do not form a square of odd side"), ("1 2 3 4", "4 numbers do not form"),
    ("", "0 numbers do not form"), ("1 0 0 0 x 0 0 0 1", "is neither numbers nor one of blur"),
    ("Blur", "is neither numbers nor one of blur"), ("nan", "not below a million"),
    ("1e30", "not below a million")])
def test_what_is_no_kernel_is_a_sentence(tmp_path, ended, text, words):
    code, _, err = ended("--kernel", text, "--output-dir", tmp_path / "out")
    assert code == 2 and words in err and not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_no_folder_name_breaks_the_output(tmp_path):
    folder = tmp_path / "d\u00e9\x1b[31m"
    done = run("--kernel", "2", "images/avion.jpg", "--output-dir", folder,
               env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Wrote %s/d\u00e9\\x1b[31m/ex01_kernel.png\n" % tmp_path


MEASURE = """
import resource, sys
import ex01_filters
ex01_filters.tf.Graph
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ex01_filters.write_filters(*sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in Linux' units")
def test_24_megapixels_take_little_memory(tmp_path):
    picture = str(tmp_path / "photo.jpg")
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        source.resize((6000, 4000)).save(picture)
    done = run_command(sys.executable, "-c", MEASURE, picture, str(tmp_path))
    assert done.returncode == 0 and int(done.stdout.split()[-1]) < 1000 * 1000
