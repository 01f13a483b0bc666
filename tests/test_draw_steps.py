"""The explanation of a convolution holds the numbers that NumPy and SciPy compute."""
import os

import numpy as np
import scipy.ndimage
import scipy.signal
from conftest import ROOT
from PIL import Image

from tools import draw_steps


def test_steps_equal_scipy():
    letters = [draw_steps.grid(letter) for letter in (draw_steps.X, draw_steps.O)]
    maps, rectified, pooled = draw_steps.compute_steps()
    for letter in range(2):
        for index, pattern in enumerate(draw_steps.PATTERNS):
            expected = scipy.signal.correlate2d(letters[letter], draw_steps.grid(pattern), "valid")
            np.testing.assert_array_equal(maps[letter, ..., index], expected)
            expected = np.where(expected > 0, expected, 0)
            np.testing.assert_array_equal(rectified[letter, ..., index], expected)
            tops = scipy.ndimage.maximum_filter(np.pad(expected, ((0, 1), (0, 1)), "edge"), (2, 2),
                                                origin=(-1, -1))[::2, ::2]
            np.testing.assert_array_equal(pooled[letter, ..., index], tops)


def test_steps_are_drawn_the_same_twice(tmp_path):
    for time in "12":
        draw_steps.main(["--output-dir", str(tmp_path / time)])
        assert [path.name for path in (tmp_path / time).iterdir()] == ["ex01_steps.png"]
    first, second = [(tmp_path / time / "ex01_steps.png").read_bytes() for time in "12"]
    assert first == second
