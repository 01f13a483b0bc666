"""The explanation of a network shows the numbers that NumPy computes."""
import os

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

from figures import ex01
from figures.common import decimal, new_figure, save_gif, translated
from tools import draw_course

NAMES = {"ex01_sliding.gif", "fr_convolution.png", "fr_glissement.gif", "fr_xo_filtres.png",
         "fr_pooling_relu.png", "fr_decision.png", "fr_probabilites.png"}


def correlate(picture, pattern, stride=1):
    """The sums of all windows of a picture times a 3x3 pattern, by NumPy alone."""
    places = range(0, len(picture) - 2, stride)
    return np.array([[(picture[row:row + 3, column:column + 3] * pattern).sum()
                      for column in places] for row in places])


def pool(values):
    """The largest of each 2x2; at the end of an odd side, of what is left."""
    places = range(0, len(values), 2)
    return np.array([[values[row:row + 2, column:column + 2].max() for column in places]
                     for row in places])


@pytest.fixture(scope="module")
def computed():
    return draw_course.compute()


def test_every_map_equals_numpy(computed):
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


def test_the_sliding_equals_numpy(computed):
    _, slides = computed
    picture = draw_course.grids(draw_course.SMALL)[0]
    for stride, slide in enumerate(slides, 1):
        expected = correlate(picture, draw_course.grids(draw_course.FILTERS)[0], stride)
        np.testing.assert_array_equal(slide, expected)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_course.main(["--output-dir", str(folder)])
    return folder


def test_the_pictures_of_the_course_are_drawn(drawn):
    assert {path.name for path in drawn.iterdir()} == NAMES
    for name in NAMES:
        assert os.path.exists(os.path.join(ROOT, "images", name)), name
        with Image.open(str(drawn / name)) as picture:
            assert 400 < picture.height <= 900 * picture.width / 830, name


def test_the_animation_shows_a_window_at_a_time(drawn):
    picture, cell = draw_course.grids(draw_course.SMALL)[0], 830 / 18
    with Image.open(str(drawn / "ex01_sliding.gif")) as animation:
        assert animation.n_frames == 25 + 9 and animation.info["loop"] == 0
        for number, place in ((0, (0, 0)), (24, (4, 4)), (25, (0, 0)), (33, (4, 4))):
            animation.seek(number)
            pixels = np.asarray(animation.convert("RGB")).astype(int)
            for (row, column), value in np.ndenumerate(picture):
                # Near a cell's corner there is neither its number nor the window's frame.
                y, x = int((1.8 + row + 0.14) * cell), int((1 + column + 0.14) * cell)
                red, _, blue = pixels[y, x]
                assert (red > blue) == (value > 0), (number, row, column)
            y, x = int((1.8 + place[0] + 0.5) * cell), int((1 + place[1]) * cell)
            assert abs(pixels[y, x] - (217, 95, 2)).max() < 9, number


def test_two_equal_frames_are_no_problem(tmp_path):
    path = str(tmp_path / "still.gif")
    save_gif([new_figure(1, 1) for _ in range(3)], [100, 100, 100], path)
    with Image.open(path) as animation:
        assert animation.size == (100, 100)


def test_french_pictures_have_french_words():
    assert decimal(-0.25, "%+.2f") == "−0,25" and decimal(-1e-9) == "0"
    say = translated("fr", ex01.FRENCH)
    assert say("window") == "fenêtre" and translated("en", ex01.FRENCH)("window") == "window"
