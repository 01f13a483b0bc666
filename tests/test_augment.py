"""Augmentation does what its docstrings say, and changes nothing else."""
import colorsys

import numpy as np
import pytest
from PIL import Image

from ex03_cifar import augment

IMAGES = np.random.RandomState(0).randint(0, 256, (200, 32, 32, 3)).astype(np.uint8)


def test_a_shift_is_a_crop_of_the_image_with_reflect_padding():
    shifted = augment.shift(IMAGES, np.random.RandomState(1), largest=2)
    offsets = set()
    for image, result in zip(IMAGES, shifted):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
        fits = [(row, column) for row in range(5) for column in range(5)
                if np.array_equal(padded[row:row + 32, column:column + 32], result)]
        assert len(fits) == 1
        offsets.update(fits)
    assert len(offsets) == 25  # every offset occurs


def test_the_chosen_images_are_flipped_horizontally():
    chosen = np.random.RandomState(2).rand(len(IMAGES)) < 0.5
    for image, seen, flipped in zip(IMAGES, augment.flip(IMAGES, chosen), chosen):
        assert np.array_equal(seen, image[:, ::-1] if flipped else image)


def test_cutout_fills_one_square_inside_the_image():
    result = augment.cutout(np.zeros_like(IMAGES), np.random.RandomState(3), size=8)
    covered = (result == np.array([125, 123, 114])).all(axis=-1)
    assert (covered.sum(axis=(1, 2)) == 64).all()
    for mask in covered:
        rows, columns = np.nonzero(mask)
        assert np.ptp(rows) == 7 and np.ptp(columns) == 7
    assert np.array_equal(result[~covered], np.zeros_like(result[~covered]))


def test_the_same_generator_state_gives_the_same_images():
    for function in (lambda *given: augment.shift(*given, largest=2),
                     lambda *given: augment.cutout(*given, size=8)):
        first = function(IMAGES, np.random.RandomState(4))
        assert np.array_equal(first, function(IMAGES, np.random.RandomState(4)))
        assert not np.array_equal(first, function(IMAGES, np.random.RandomState(5)))


def test_a_resized_pixel_is_the_mean_of_its_area():
    halved = IMAGES.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(augment.resize_down(IMAGES, 16) - halved).max() <= 0.5
    fifths = IMAGES.repeat(5, axis=1).repeat(5, axis=2)  # eight of them are a twentieth of 32
    means = fifths.reshape(-1, 20, 8, 20, 8, 3).mean(axis=(2, 4))
    assert np.abs(augment.resize_down(IMAGES, 20) - means).max() <= 0.5001


def test_random_resized_crops_are_squares_of_several_sizes():
    rng = np.random.RandomState(6)
    sizes = set()
    for _ in range(40):
        part = augment.random_resized_crop(IMAGES[:1], rng, 20, 26)[0]
        assert part.shape == (20, 20, 3)
        sizes.update(size for size in range(20, 33)
                     for row in range(33 - size) for column in range(33 - size)
                     if np.array_equal(part, augment.resize_down(
                         IMAGES[:1, row:row + size, column:column + size], 20)[0]))
    assert sizes == set(range(20, 27))


def test_scale_jitter_shows_the_object_at_its_new_size():
    images = np.zeros((40, 32, 32, 3), np.uint8)
    images[:, 12:20, 12:20] = 255
    for factor in (0.5, 1, 1.5):
        shown = augment.scale_jitter(images, np.random.RandomState(0), 1, (factor, factor), stretch=1)
        middle = shown[:, 8:24, 8:24].astype(float) if factor < 1 else shown.astype(float)
        sizes = (middle.sum(axis=(1, 2, 3)) / 255 / 3) ** 0.5
        assert shown.dtype == np.uint8 and np.median(sizes) == pytest.approx(8 * factor, rel=0.05)
    np.testing.assert_array_equal(
        augment.scale_jitter(images, np.random.RandomState(0), 1, (1, 1), stretch=1), images)


def test_scale_jitter_stretches_the_object_and_keeps_its_area():
    images = np.zeros((200, 32, 32, 3), np.uint8)
    images[:, 12:20, 12:20] = 255
    shown = augment.scale_jitter(images, np.random.RandomState(0), 1, (1, 1)).astype(float)[..., 0] / 255
    np.testing.assert_allclose(shown.sum(axis=(1, 2)), 64, rtol=0.1)
    heights = shown.sum(axis=1).max(axis=1)
    assert 6.8 < heights.min() < 7.4 and 8.7 < heights.max() < 9.4  # 8 times the root of 3/4, of 4/3


@pytest.mark.parametrize("change", [
    lambda images, rng, prob: augment.scale_jitter(images, rng, prob, (0.6, 1.4)),
    lambda images, rng, prob: augment.colour_jitter(images, rng, prob, 0.3),
    lambda images, rng, prob: augment.hue_jitter(images, rng, prob)])
def test_an_image_is_changed_with_this_probability(change):
    images = np.random.RandomState(1).randint(0, 256, (400, 32, 32, 3)).astype(np.uint8)
    for prob in (0, 0.3, 1):
        changed = (change(images, np.random.RandomState(0), prob) != images).any(axis=(1, 2, 3))
        assert changed.mean() == pytest.approx(prob, abs=0.07)


def test_colour_jitter_keeps_greys_grey_and_within_its_strength():
    greys = np.full((300, 8, 8, 3), 100, np.uint8)
    shown = augment.colour_jitter(greys, np.random.RandomState(0), 1, 0.3)
    assert (shown == shown[..., :1]).all()
    assert 70 <= shown.min() < 75 and 125 < shown.max() <= 130
    np.testing.assert_array_equal(augment.colour_jitter(greys, np.random.RandomState(0), 1, 0), greys)


def test_hue_jitter_turns_the_hue_by_any_angle_and_keeps_the_rest():
    colours = np.full((400, 4, 4, 3), (140, 120, 100), np.uint8)
    shown = augment.hue_jitter(colours, np.random.RandomState(0), 1)
    assert (shown == shown[:, :1, :1]).all()
    brightness = [np.asarray(Image.fromarray(image).convert("L"))[0, 0] for image in shown]
    assert np.ptp(brightness) <= 2
    hues = 360 * np.array([colorsys.rgb_to_hsv(*image[0, 0])[0] for image in shown])
    assert (np.histogram(hues, range(0, 361, 60))[0] > 20).all()
    greys = np.full((400, 4, 4, 3), 100, np.uint8)
    np.testing.assert_array_equal(augment.hue_jitter(greys, np.random.RandomState(0), 1), greys)
