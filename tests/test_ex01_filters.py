"""What the README promises of ex01_filters.py, on real files, with SciPy as the second opinion."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from PIL import Image, ImageCms

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = os.path.join(ROOT, "ex01_filters.py")
IMAGES = os.path.join(ROOT, "images")
RESULTS = ("ex01_horizontal.png", "ex01_vertical.png")
sys.path[:0] = [ROOT, os.path.join(ROOT, "tools")]

import draw_source      # noqa: E402
import ex01_filters     # noqa: E402


def run(*arguments, cwd=None, one_core=False, **environment):
    """The script as a user starts it; text output."""
    pin = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if one_core else None
    return subprocess.run([sys.executable, SCRIPT] + [str(a) for a in arguments], cwd=cwd,
                          env=dict(os.environ, **environment), preexec_fn=pin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def scipy_patterns(luma):
    """uint8 [2, rows, columns] by SciPy, in integers; 'nearest' repeats the outermost pixels."""
    luma = np.asarray(luma).astype(np.int64)
    responses = [scipy.ndimage.sobel(luma, axis, mode="nearest") for axis in (0, 1)]
    return np.minimum(np.abs(responses), 255).astype(np.uint8)


def pixels(folder, name):
    with Image.open(os.path.join(str(folder), name)) as picture:
        assert picture.mode == "L"
        return np.array(picture)


def contents(folder, names=RESULTS):
    return [open(os.path.join(str(folder), name), "rb").read() for name in names]


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


@pytest.mark.parametrize("threads, onednn", [("1", "0"), ("16", "1")])
def test_threads_and_onednn_change_no_byte(default_run, tmp_path, threads, onednn):
    done = run("--output-dir", tmp_path, one_core=threads == "1", TF_ENABLE_ONEDNN_OPTS=onednn,
               TF_NUM_INTRAOP_THREADS=threads, TF_NUM_INTEROP_THREADS=threads)
    assert done.returncode == 0, done.stderr
    names = RESULTS + ("ex01_filters.png",)
    assert contents(tmp_path, names) == contents(default_run, names)


def test_each_result_shows_its_patterns_and_loses_the_others(default_run):
    horizontal, vertical = [pixels(default_run, name).astype(float) for name in RESULTS]

    def mean(pattern, box):
        left, top, right, bottom = box
        return pattern[top:bottom, left:right].mean()

    for box in (draw_source.DECK_REGION, draw_source.RIPPLES_REGION):
        assert mean(horizontal, box) > 50 and mean(horizontal, box) > 2.5 * mean(vertical, box)
    for box in draw_source.PYLON_REGIONS + draw_source.HANGER_REGIONS:
        assert mean(vertical, box) > 50 and mean(vertical, box) > 4 * mean(horizontal, box)


def test_source_is_drawn_again_pixel_for_pixel(tmp_path):
    again = str(tmp_path / "source.jpg")
    subprocess.check_call([sys.executable, os.path.join(ROOT, "tools", "draw_source.py"), again])
    with Image.open(again) as drawn, Image.open(os.path.join(IMAGES, "source.jpg")) as committed:
        assert committed.size == (960, 640)
        np.testing.assert_array_equal(np.array(drawn), np.array(committed))


def test_the_graph_is_one_conv2d_with_both_filters():
    graph, placeholder, magnitudes = ex01_filters.build_graph()
    convolution, = [op for op in graph.get_operations() if op.type == "Conv2D"]
    assert placeholder.dtype.name == magnitudes.dtype.name == "uint8"
    with ex01_filters.start_session(graph) as session:
        kernel = session.run(convolution.inputs[1])
    assert kernel.shape == (3, 3, 1, 2)
    np.testing.assert_array_equal(kernel[:, :, 0, 0], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    np.testing.assert_array_equal(kernel[:, :, 0, 1], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


@pytest.mark.parametrize("strip_pixels", [1, 100, 1 << 20])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (37, 53), (300, 7)])
def test_any_size_in_any_strips_equals_scipy(monkeypatch, shape, strip_pixels):
    monkeypatch.setattr(ex01_filters, "STRIP_PIXELS", strip_pixels)
    luma = np.random.RandomState(shape[0]).randint(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(ex01_filters.apply_filters(luma), scipy_patterns(luma))


def test_a_flat_picture_has_no_frame_of_false_edges():
    assert not ex01_filters.apply_filters(np.full((20, 30), 200, np.uint8)).any()


def luma_of(path):
    return np.asarray(ex01_filters.read_picture(str(path)).convert("L"))


def photo():
    """A corner of the source, RGB, small and of odd size."""
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        return source.convert("RGB").crop((231, 60, 292, 97))


@pytest.mark.parametrize("mode, name", [
    ("RGB", "a.png"), ("RGB", "a.bmp"), ("RGB", "a.webp"), ("RGB", "a.jpg"), ("L", "a.png"),
    ("1", "a.png"), ("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("CMYK", "a.tif"),
    ("F", "a.tif"), ("YCbCr", "a.jpg")])
def test_luma_is_what_pillow_converts_to(tmp_path, mode, name):
    photo().convert(mode).save(str(tmp_path / name))
    with Image.open(str(tmp_path / name)) as picture:
        expected = np.array(picture.convert("L"))
    assert expected.std() > 10
    np.testing.assert_array_equal(luma_of(tmp_path / name), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    grey = np.array(photo().convert("L"))
    deep = (grey.astype(np.uint16) << 8) + 77
    path = tmp_path / ("deep." + suffix)
    if suffix == "pgm":
        path.write_bytes(b"P5 %d %d 65535\n" % grey.shape[::-1] + deep.astype(">u2").tobytes())
    else:
        Image.frombytes("I;16", grey.shape[::-1], deep.astype("<u2").tobytes()).save(str(path))
    np.testing.assert_array_equal(luma_of(path), grey)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(tmp_path, mode):
    picture = photo().convert("RGB")
    expected = np.array(picture.convert("L"))
    expected[:20] = 255
    picture = picture.convert(mode)
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, picture.width, 20))
    picture.putalpha(alpha)
    picture.save(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(luma_of(tmp_path / "a.png"), expected)


def test_a_transparent_palette_entry_is_white(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    picture.putpalette([10, 10, 10, 90, 90, 90] + [0] * 762)
    picture.save(str(tmp_path / "a.png"), transparency=0)
    np.testing.assert_array_equal(luma_of(tmp_path / "a.png"), [[255, 90], [90, 255]])


def test_lab_keeps_its_light_and_dark(tmp_path):
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(photo(), rgb, lab, outputMode="LAB").save(str(tmp_path / "a.tif"))
    difference = luma_of(tmp_path / "a.tif").astype(int) - np.array(photo().convert("L"))
    assert abs(difference).max() < 6        # L*, a*, b* were rounded to 8 bits


@pytest.mark.parametrize("mode, suffix", [("RGB", "jpg"), ("RGB", "png"), ("I;16", "png")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_camera_is_turned_back(tmp_path, orientation, mode, suffix):
    grey = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, 8, 0), 8, 1)
    # How each of Exif's orientations (CIPA DC-008, tag 0x0112) stores the upright picture.
    stored = {1: grey, 2: grey[:, ::-1], 3: grey[::-1, ::-1], 4: grey[::-1], 5: grey.T,
              6: np.rot90(grey), 7: grey[::-1, ::-1].T, 8: np.rot90(grey, -1)}[orientation]
    if mode == "I;16":
        deep = np.ascontiguousarray(stored).astype("<u2") << 8
        picture = Image.frombytes("I;16", deep.shape[::-1], deep.tobytes())
    else:
        picture = Image.fromarray(np.ascontiguousarray(stored)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(str(tmp_path / ("a." + suffix)), exif=exif)
    seen = luma_of(tmp_path / ("a." + suffix))
    assert seen.shape == grey.shape
    assert abs(seen.astype(int) - grey).max() <= (3 if suffix == "jpg" else 0)


def write_truncated(path):
    with open(os.path.join(IMAGES, "source.jpg"), "rb") as source:
        path.write_bytes(source.read(60000))


def write_bomb(path):
    path.write_bytes(b"P4 30000 30000\n")         # a portable bitmap's header is enough


@pytest.mark.parametrize("name, make, words", [
    ("missing.png", lambda path: None, "there is no file"),
    ("folder", lambda path: path.mkdir(), "is a folder"),
    ("notes.png", lambda path: path.write_text("no picture"), "is not a picture"),
    ("empty.jpg", lambda path: path.write_bytes(b""), "is not a picture"),
    ("half.jpg", write_truncated, "truncated"),
    ("bomb.pbm", write_bomb, "decompression bomb")])
def test_a_bad_picture_gets_one_sentence(tmp_path, name, make, words):
    make(tmp_path / name)
    done = run(tmp_path / name, "--output-dir", tmp_path / "out")
    assert done.returncode == 1 and done.stdout == ""
    assert words in done.stderr and name in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        done = run("--output-dir", folder)
        assert done.returncode == 1 and "nothing can be written to" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_picture_is_not_replaced_by_its_own_result(tmp_path):
    path = tmp_path / "ex01_vertical.png"
    photo().save(str(path))
    before = path.read_bytes()
    done = run(path, "--output-dir", tmp_path)
    assert done.returncode == 1 and "--output-dir" in done.stderr
    assert path.read_bytes() == before


def test_steps_take_no_picture(tmp_path):
    done = run("photo.jpg", "--steps", "--output-dir", tmp_path)
    assert done.returncode == 2 and "--steps" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("moment", ["importing TensorFlow", "writing"])
def test_interruption_is_quiet_and_leaves_nothing_half_written(tmp_path, moment):
    process = subprocess.Popen([sys.executable, "-u", SCRIPT, "--output-dir", str(tmp_path)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if moment == "writing":
        process.stdout.readline()       # the first of three pictures
    else:
        time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    # Finished before the signal, interrupted, or interrupted while Python was shutting down.
    assert process.returncode in (0, 130, -signal.SIGINT) and stderr == b""
    assert not list(tmp_path.glob("*.partial"))


def test_steps_equal_scipy():
    letters = [ex01_filters.grid(letter) for letter in (ex01_filters.X, ex01_filters.O)]
    maps, rectified, pooled = ex01_filters.compute_steps()
    for letter in range(2):
        for index, pattern in enumerate(ex01_filters.PATTERNS):
            expected = scipy.signal.correlate2d(letters[letter], ex01_filters.grid(pattern), "valid")
            np.testing.assert_array_equal(maps[letter, ..., index], expected)
            expected = np.where(expected > 0, expected, 0)
            np.testing.assert_array_equal(rectified[letter, ..., index], expected)
            tops = scipy.ndimage.maximum_filter(np.pad(expected, ((0, 1), (0, 1)), "edge"), (2, 2),
                                                origin=(-1, -1))[::2, ::2]
            np.testing.assert_array_equal(pooled[letter, ..., index], tops)


def test_steps_are_drawn_the_same_twice(tmp_path):
    done = run("--steps", "--output-dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(str(tmp_path / "ex01_steps.png")) as drawn:
        again = ex01_filters.draw_steps(*ex01_filters.compute_steps())
        np.testing.assert_array_equal(np.array(drawn), np.array(again))
    assert [path.name for path in tmp_path.iterdir()] == ["ex01_steps.png"]


MEASURE = """
import os, resource, sys, time
sys.path.insert(0, {root!r})
import ex01_filters
ex01_filters.import_tensorflow()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.time()
ex01_filters.write_filters({picture!r}, {folder!r})
took = time.time() - start
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, took)
"""


def test_24_megapixels_take_little_memory_and_time(tmp_path):
    picture = str(tmp_path / "photo.jpg")
    with Image.open(os.path.join(IMAGES, "source.jpg")) as source:
        large = np.asarray(source.resize((6000, 4000), Image.BICUBIC)).astype(np.int16)
    # Without a sensor's noise the enlarged drawing would be easier to encode than a photograph.
    noise = np.tile(np.random.RandomState(0).randint(-6, 7, (500, 6000, 1)), (8, 1, 1))
    large += noise.astype(np.int16)
    Image.fromarray(np.clip(large, 0, 255).astype(np.uint8)).save(picture, quality=92)
    code = MEASURE.format(root=ROOT, picture=picture, folder=str(tmp_path))
    kilobytes, seconds = subprocess.check_output([sys.executable, "-c", code]).split()[-2:]
    assert int(kilobytes) < 1000 * 1000

    start = time.time()
    with Image.open(picture) as opened:
        opened.load()
    for name in RESULTS:
        Image.fromarray(pixels(tmp_path, name)).save(str(tmp_path / "again.png"))
    assert float(seconds) < 2.5 * (time.time() - start)
