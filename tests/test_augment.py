"""Augmentation moves, mirrors and covers pixels as its docstrings say, and changes nothing else."""
import numpy as np

from ex03_cifar import augment

IMAGES = np.random.RandomState(0).randint(0, 256, (200, 32, 32, 3)).astype(np.uint8)


def test_a_shift_is_a_crop_of_the_image_mirrored_at_its_border():
    moved = augment.shift(IMAGES, np.random.RandomState(1), most=2)
    offsets = set()
    for image, result in zip(IMAGES, moved):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
        fits = [(row, column) for row in range(5) for column in range(5)
                if np.array_equal(padded[row:row + 32, column:column + 32], result)]
        assert len(fits) == 1
        offsets.update(fits)
    assert len(offsets) == 25  # every offset occurs


def test_the_chosen_images_are_mirrored_left_and_right():
    chosen = np.random.RandomState(2).rand(len(IMAGES)) < 0.5
    for image, seen, turned in zip(IMAGES, augment.mirror(IMAGES, chosen), chosen):
        assert np.array_equal(seen, image[:, ::-1] if turned else image)


def test_cutout_covers_one_square_inside_the_image():
    result = augment.cutout(np.zeros_like(IMAGES), np.random.RandomState(3), size=8)
    covered = (result == np.array([125, 123, 114])).all(axis=-1)
    assert (covered.sum(axis=(1, 2)) == 64).all()
    for mask in covered:
        rows, columns = np.nonzero(mask)
        assert np.ptp(rows) == 7 and np.ptp(columns) == 7
    assert np.array_equal(result[~covered], np.zeros_like(result[~covered]))


def test_the_same_generator_state_gives_the_same_images():
    for function in (lambda *given: augment.shift(*given, most=2),
                     lambda *given: augment.cutout(*given, size=8)):
        first = function(IMAGES, np.random.RandomState(4))
        assert np.array_equal(first, function(IMAGES, np.random.RandomState(4)))
        assert not np.array_equal(first, function(IMAGES, np.random.RandomState(5)))


def test_a_shrunk_pixel_is_the_mean_of_what_it_covers():
    halved = IMAGES.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(augment.shrink(IMAGES, 16) - halved).max() <= 0.5
    fifths = IMAGES.repeat(5, axis=1).repeat(5, axis=2)  # eight of them are a twentieth of 32
    means = fifths.reshape(-1, 20, 8, 20, 8, 3).mean(axis=(2, 4))
    assert np.abs(augment.shrink(IMAGES, 20) - means).max() <= 0.5001


def test_small_parts_are_squares_of_the_image_of_several_sizes():
    rng = np.random.RandomState(6)
    sizes = set()
    for _ in range(40):
        part = augment.small_parts(IMAGES[:1], rng, 20, 26)[0]
        assert part.shape == (20, 20, 3)
        sizes.update(size for size in range(20, 33)
                     for row in range(33 - size) for column in range(33 - size)
                     if np.array_equal(part, augment.shrink(
                         IMAGES[:1, row:row + size, column:column + size], 20)[0]))
    assert sizes == set(range(20, 27))
