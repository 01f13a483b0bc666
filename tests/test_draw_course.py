"""The explanation of a network shows the numbers that SciPy computes."""
import os

import numpy as np
import pytest
import scipy.ndimage
from helpers import ROOT
from PIL import Image

from tools import draw_course

NAMES = {"ex01_sliding.gif", "fr_convolution.png", "fr_glissement.gif", "fr_xo_filtres.png",
         "fr_pooling_relu.png", "fr_decision.png", "fr_probabilites.png"}


def correlate(picture, pattern, stride=1):
    """The sums of all windows of a picture times a 3x3 pattern, by SciPy."""
    return scipy.ndimage.correlate(picture, pattern)[1:-1:stride, 1:-1:stride]


def pool(values):
    """The largest of each 2x2; at the end of an odd side, of what is left."""
    return scipy.ndimage.maximum_filter(values, 2, mode="nearest", origin=-1)[::2, ::2]


@pytest.fixture(scope="module")
def computed():
    return draw_course.compute()


def test_every_map_equals_scipy(computed):
    layers, _ = computed
    for letter, picture in enumerate(draw_course.grids(draw_course.LETTERS)):
        for index, pattern in enumerate(draw_course.grids(draw_course.FILTERS)):
            maps = correlate(picture, pattern)
            rectified = np.where(maps > 0, maps, 0)
            for name, expected in (("maps", maps), ("rectified", rectified),
                                   ("pooled", pool(rectified)),
                                   ("smallest", pool(pool(rectified)))):
                np.testing.assert_array_equal(layers[name][letter, ..., index], expected)


def test_the_weights_tell_x_from_o_and_the_scores_follow(computed):
    layers, _ = computed
    flat = layers["smallest"].reshape(6, 12).astype(float)
    weights = 3.6 * (flat[0] - flat[1]) / ((flat[0] - flat[1]) ** 2).sum()
    bias = -(flat[0] + flat[1]) @ weights / 2
    np.testing.assert_allclose(layers["weights"], np.stack([weights, -weights], axis=1), rtol=1e-6)
    np.testing.assert_allclose(layers["biases"], [bias, -bias], rtol=1e-6)
    scores = flat @ weights + bias
    np.testing.assert_allclose(layers["scores"], np.stack([scores, -scores], axis=1), atol=1e-6)
    np.testing.assert_allclose(scores[:2], [1.8, -1.8])
    shares = np.exp(scores) / (np.exp(scores) + np.exp(-scores))
    np.testing.assert_allclose(layers["probabilities"][:, 0], shares, atol=1e-6)
    # Drawn with one decimal, which is exact.
    np.testing.assert_allclose(weights, np.round(weights, 1), atol=1e-12)
    np.testing.assert_allclose(bias, np.round(bias, 1), atol=1e-12)


def test_an_x_that_is_shifted_thicker_or_rotated_still_wins(computed):
    layers, _ = computed
    letters = draw_course.grids(draw_course.LETTERS)
    assert len({letter.tobytes() for letter in letters}) == len(draw_course.NAMES) == 6
    for name, probabilities in zip(draw_course.NAMES, layers["probabilities"]):
        assert probabilities["XO".index(name[0])] > 0.75, name
    shifted = draw_course.NAMES.index("X décalé")
    np.testing.assert_array_equal(letters[shifted][:, 1:], letters[0][:, :-1])


def test_the_sliding_equals_scipy(computed):
    _, slides = computed
    picture, pattern = [draw_course.grids(drawing)[0]
                        for drawing in (draw_course.SMALL, draw_course.FILTERS)]
    for stride, slide in enumerate(slides, 1):
        np.testing.assert_array_equal(slide, correlate(picture, pattern, stride))


def test_the_pictures_of_the_course_are_drawn(computed, tmp_path, monkeypatch):
    """Of the animation, a window at a time, two alone with each stride, which takes less time."""
    layers, slides = computed
    monkeypatch.setattr(draw_course, "compute", lambda: (layers, [map[:1, :2] for map in slides]))
    draw_course.main(["--output-dir", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    for name in NAMES:
        assert os.path.exists(os.path.join(ROOT, "images", name)), name
        with Image.open(str(tmp_path / name)) as picture:
            assert 400 < picture.height <= 900 * picture.width / 830, name
    cell = 830 / 18
    with Image.open(str(tmp_path / "ex01_sliding.gif")) as animation:
        assert animation.n_frames == 2 + 2 and animation.info["loop"] == 0
        for number, column in (0, 0), (1, 1), (2, 0), (3, 2):
            animation.seek(number)
            pixels = np.asarray(animation.convert("RGB")).astype(int)
            for (row, place), value in np.ndenumerate(draw_course.grids(draw_course.SMALL)[0]):
                # Near a cell's corner there is neither its number nor the window's frame.
                red, _, blue = pixels[int((1.94 + row) * cell), int((1.14 + place) * cell)]
                assert (red > blue) == (value > 0), (number, row, place)
            frame = pixels[int(2.3 * cell), int((1 + column) * cell)]
            assert abs(frame - (217, 95, 2)).max() < 9, number
