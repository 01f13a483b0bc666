"""The explanation of a network holds the numbers that NumPy computes; its files stay the same."""
import os

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

from support.sheet import shade
from tools import draw_steps

NAMES = "ex01_steps.png", "ex01_decision.png", "ex01_sliding.gif"


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
    return draw_steps.compute()


def test_every_map_equals_numpy(computed):
    layers, _ = computed
    for letter, picture in enumerate(draw_steps.grids(draw_steps.LETTERS)):
        for index, pattern in enumerate(draw_steps.grids(draw_steps.FILTERS)):
            maps = correlate(picture, pattern)
            rectified = np.where(maps > 0, maps, 0)
            for name, expected in (("maps", maps), ("rectified", rectified),
                                   ("pooled", pool(rectified)),
                                   ("smallest", pool(pool(rectified)))):
                np.testing.assert_array_equal(layers[name][letter, ..., index], expected)


def test_the_weights_tell_x_from_o_and_the_votes_follow(computed):
    layers, _ = computed
    flat = layers["smallest"].reshape(6, 12).astype(float)
    weights = 4 * (flat[0] - flat[1]) / ((flat[0] - flat[1]) ** 2).sum()
    bias = -(flat[0] + flat[1]) @ weights / 2
    np.testing.assert_allclose(layers["weights"], np.stack([weights, -weights], axis=1), rtol=1e-6)
    np.testing.assert_allclose(layers["biases"], [bias, -bias], rtol=1e-6)
    votes = flat @ weights + bias
    np.testing.assert_allclose(layers["votes"], np.stack([votes, -votes], axis=1), atol=1e-6)
    np.testing.assert_allclose(votes[:2], [2, -2])
    shares = np.exp(votes) / (np.exp(votes) + np.exp(-votes))
    np.testing.assert_allclose(layers["probabilities"][:, 0], shares, atol=1e-6)
    # Drawn as whole ninths.
    np.testing.assert_allclose(9 * weights, np.round(9 * weights), atol=1e-12)
    np.testing.assert_allclose(9 * bias, round(9 * bias), atol=1e-12)


def test_an_x_that_is_moved_thicker_or_tilted_still_wins(computed):
    layers, _ = computed
    letters = draw_steps.grids(draw_steps.LETTERS)
    assert len({letter.tobytes() for letter in letters}) == len(draw_steps.NAMES) == 6
    for name, probabilities in zip(draw_steps.NAMES, layers["probabilities"]):
        assert probabilities["XO".index(name[0])] > 0.75, name
    moved = draw_steps.NAMES.index("X, moved")
    np.testing.assert_array_equal(letters[moved][:, 1:], letters[0][:, :-1])


def test_the_sliding_equals_numpy(computed):
    _, slides = computed
    picture = draw_steps.grids(draw_steps.SMALL)[0]
    for stride, slide in enumerate(slides, 1):
        expected = correlate(picture, draw_steps.grids(draw_steps.FILTERS)[0], stride)
        np.testing.assert_array_equal(slide, expected)


def test_drawn_again_they_are_the_committed_files(tmp_path):
    draw_steps.main(["--output-dir", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for name in NAMES:
        with open(os.path.join(ROOT, "images", name), "rb") as committed:
            assert (tmp_path / name).read_bytes() == committed.read(), name


def test_the_animation_shows_a_window_at_a_time():
    path = os.path.join(ROOT, "images", "ex01_sliding.gif")
    assert os.path.getsize(path) < 500 * 1000
    picture, unit = draw_steps.grids(draw_steps.SMALL)[0], 44
    with Image.open(path) as animation:
        assert animation.n_frames == 25 + 9 and animation.info["loop"] == 0
        for frame, place in ((0, (0, 0)), (24, (4, 4)), (25, (0, 0)), (33, (4, 4))):
            animation.seek(frame)
            pixels = np.asarray(animation.convert("RGB")).astype(int)
            for (row, column), value in np.ndenumerate(picture):
                # Near a cell's corner there is neither its number nor the window's frame.
                y, x = int((1.9 + row + 0.13) * unit), int((0.7 + column + 0.13) * unit)
                assert abs(pixels[y, x] - shade(value, 3.2)).max() < 4, (frame, row, column)
            y, x = int((1.9 + place[0] + 0.5) * unit), int((0.7 + place[1]) * unit)
            assert abs(pixels[y, x] - (217, 95, 2)).max() < 4, frame
