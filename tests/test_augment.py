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
        shown = augment.scale_jitter(images, np.random.RandomState(0), 1, (factor, factor), 1)
        middle = shown[:, 8:24, 8:24].astype(float) if factor < 1 else shown.astype(float)
        sizes = (middle.sum(axis=(1, 2, 3)) / 255 / 3) ** 0.5
        assert shown.dtype == np.uint8 and np.median(sizes) == pytest.approx(8 * factor, rel=0.05)
    np.testing.assert_array_equal(
        augment.scale_jitter(images, np.random.RandomState(0), 1, (1, 1), stretch=1), images)


def test_scale_jitter_stretches_the_object_and_keeps_its_area():
    images = np.zeros((200, 32, 32, 3), np.uint8)
    images[:, 12:20, 12:20] = 255
    shown = augment.scale_jitter(images, np.random.RandomState(0), 1, (1, 1))[..., 0] / 255.0
    np.testing.assert_allclose(shown.sum(axis=(1, 2)), 64, rtol=0.1)
    heights = shown.sum(axis=1).max(axis=1)
    assert 6.8 < heights.min() < 7.4 and 8.7 < heights.max() < 9.4  # 8 * sqrt(3/4), sqrt(4/3)


@pytest.mark.parametrize("change", [
    lambda images, rng, prob: augment.scale_jitter(images, rng, prob, (0.6, 1.4)),
    lambda images, rng, prob: augment.colour_jitter(images, rng, prob, 0.3),
    augment.hue_jitter, augment.grey, augment.dark, augment.tilt, augment.closer,
    augment.on_ground])
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
    same = augment.colour_jitter(greys, np.random.RandomState(0), 1, 0)
    np.testing.assert_array_equal(same, greys)


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


def test_grey_is_grey_or_sepia_as_often():
    shown = augment.grey(IMAGES, np.random.RandomState(0), 1).astype(int)
    level = np.rint(IMAGES.dot(augment.GREY))
    grey = (shown == level[..., None]).all(axis=(1, 2, 3))
    assert 0.4 < grey.mean() < 0.6
    np.testing.assert_allclose(shown[~grey][..., 2], 0.6 * level[~grey], atol=1)  # blue


def test_dark_images_are_darker_and_keep_their_order_of_brightness():
    ramp = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[:, None, None], (100, 32, 32, 3))
    shown = augment.dark(np.ascontiguousarray(ramp), np.random.RandomState(0), 1).mean(axis=(2, 3))
    assert shown.mean() < 0.6 * ramp.mean()
    assert (np.diff(shown[:, ::8], axis=1) > 0).mean() > 0.95


def test_a_tilt_turns_by_up_to_20_degrees_with_or_without_corners():
    images = np.zeros((300, 32, 32, 3), np.uint8)
    images[:, 15:17] = 200  # a line from left to right
    shown = augment.tilt(images, np.random.RandomState(0), 1).astype(float).max(axis=3)
    cornered = shown[:, 0, 0] > 0  # by a colour; black corners look like the rest here
    assert 0.15 < cornered.mean() < 0.5
    left, right = [shown[~cornered][:, :, columns].mean(axis=2).argmax(axis=1)
                   for columns in ((8, 9), (22, 23))]
    angles = np.rad2deg(np.arctan2(right - left, 14))
    assert -24 < angles.min() < -12 and 12 < angles.max() < 24


def test_a_close_up_shows_half_to_four_fifths_of_the_side():
    images = np.zeros((200, 32, 32, 3), np.uint8)
    images[:, 12:20, 12:20] = 255
    shown = augment.closer(images, np.random.RandomState(0), 1).astype(float)
    sides = (shown.mean(axis=3).sum(axis=(1, 2)) / 255) ** 0.5
    assert 8 / 0.85 < sides.min() < 10.5 and 14 < sides.max() < 8 / 0.48


def test_on_a_ground_the_whole_image_is_small():
    images = np.full((200, 32, 32, 3), 77, np.uint8)
    images[:, ::2] = 78
    shown = augment.on_ground(images, np.random.RandomState(0), 1)
    inside = ((shown >= 77) & (shown <= 78)).all(axis=3)
    plain = inside.mean(axis=(1, 2)) < 0.9  # the others lie on one another
    assert 0.35 < plain.mean() < 0.65
    assert 0.4 ** 2 * 0.8 < inside[plain].mean(axis=(1, 2)).min()
    assert inside[plain].mean(axis=(1, 2)).max() < 0.8 ** 2 + 0.05
