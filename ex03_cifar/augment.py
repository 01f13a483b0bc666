"""Augmentation: pure functions of (images, rng), images uint8 [N,H,W,3] in and out."""
import numpy as np


def training_batch(images, mirrored, recipe, progress, rng):
    """Return a batch as a training step sees it, uint8 [N,S,S,3].

    Args:
        images: uint8 [N,32,32,3].
        mirrored: bool [N], whether each image is to be mirrored.
        recipe: a `recipes.Recipe`.
        progress: the share of the run that is over.
        rng: the `np.random.RandomState` that draws all that is random.
    """
    images = mirror(shift(images, rng, recipe.shift), mirrored)
    if recipe.rescaled:
        images = rescale(images, rng, recipe.rescaled, recipe.scales)
    if recipe.recoloured:
        images = recolour(images, rng, recipe.recoloured, recipe.colour)
    if recipe.cutout:
        images = cutout(images, rng, recipe.cutout)
    for stage in recipe.stages:
        if progress < stage.until:
            return small_parts(images, rng, stage.side, stage.largest)
    return images


def shift(images, rng, most):
    """Move each image by up to `most` pixels along both axes; the border is mirrored inwards."""
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), "reflect")
    return random_squares(padded, rng, images.shape[1])


def random_squares(images, rng, side):
    """Cut a square out of each image [N,H,H,3], at a place of its own: [N,side,side,3]."""
    count, room = len(images), images.shape[1] - side + 1
    rows = rng.randint(0, room, count)[:, None] + np.arange(side)
    columns = rng.randint(0, room, count)[:, None] + np.arange(side)
    return images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def mirror(images, chosen):
    """Mirror left and right the images where `chosen`, bool [N], is true."""
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def cutout(images, rng, size, fill=(125, 123, 114)):
    """Cover a square of `size` pixels with the mean colour (DeVries and Taylor, arXiv 1708.04552)."""
    count, height, width, _ = images.shape
    top = rng.randint(0, height - size + 1, count)[:, None]
    left = rng.randint(0, width - size + 1, count)[:, None]
    rows, columns = np.arange(height), np.arange(width)
    covered = (((rows >= top) & (rows < top + size))[:, :, None]
               & ((columns >= left) & (columns < left + size))[:, None, :])
    return np.where(covered[..., None], np.array(fill, np.uint8), images)


def small_parts(images, rng, side, largest):
    """Cut a square out of each image and reduce it to [N,side,side,3].

    The squares' size is drawn once a call, from `side` to `largest`, so that scales vary. Early
    epochs cost less on small images and learn nearly as much (Tan and Le 2021, progressive
    learning, arXiv 2104.00298).
    """
    squares = random_squares(images, rng, rng.randint(side, largest + 1))
    return squares if squares.shape[1] == side else shrink(squares, side)


def shrink(images, side):
    """Reduce images [N,H,H,3] to [N,side,side,3]; each new pixel is the mean of what it covers."""
    whole = images.shape[1]
    # Row i: which share of new pixel i each old pixel has.
    shares = np.repeat(np.eye(whole, dtype=np.float32), side, axis=0)
    shares = shares.reshape(side, whole, whole).mean(axis=1)
    rows = np.matmul(shares, images.reshape(len(images), whole, -1).astype(np.float32))
    both = np.matmul(shares, rows.reshape(-1, whole, images.shape[-1]))
    return np.rint(both).astype(np.uint8).reshape(len(images), side, side, -1)


def rescale(images, rng, share, scales, stretch=4 / 3):
    """Draw a `share` of the images anew: the object larger or smaller, elsewhere, and stretched.

    Photographs show objects at sizes that CIFAR-10 does not have, and to squash a rectangle
    stretches them. What is beyond the border is the mirror image.

    Args:
        images: uint8 [N,H,H,3].
        scales: (smallest, largest) factor of the object's size; its logarithm is uniform.
        stretch: the largest ratio of the two sides' factors; its logarithm is uniform as well.
    """
    drawn = [rng.uniform(low, high, len(images)) for low, high in (
        (0, 1), np.log(scales), np.log((1 / stretch, stretch)), (-0.5, 0.5), (-0.5, 0.5))]
    chosen = np.flatnonzero(drawn[0] < share)
    scale, ratio, top, left = [numbers[chosen] for numbers in drawn[1:]]
    count, side = len(chosen), images.shape[1]
    rows = resampling(np.exp(scale + ratio / 2), top, side)
    columns = resampling(np.exp(scale - ratio / 2), left, side)
    tall = np.matmul(rows, images[chosen].reshape(count, side, 3 * side).astype(np.float32))
    drawn = np.matmul(columns[:, None], tall.reshape(count, side, side, 3))
    result = images.copy()
    result[chosen] = np.clip(np.rint(drawn), 0, 255)
    return result


def resampling(factor, place, side):
    """Return float32 [N,side,side]: the share of each pixel of a row in each new one.

    The filter is a triangle as wide as a new pixel, or an old one if that is wider, as Pillow's.

    Args:
        factor: [N], how many times as large the new row shows things.
        place: [N] from -0.5 to 0.5, where the part lies that is shown, or the row in what is.
    """
    middle = side / 2 + place * np.abs(side / factor - side)
    centres = middle[:, None] + (np.arange(side) + 0.5 - side / 2) / factor[:, None]
    centres = np.clip(centres, 0.5 - side, 2 * side - 0.5)  # one mirror image on either side
    distance = np.abs(np.arange(-side, 2 * side) + 0.5 - centres[:, :, None]).astype(np.float32)
    shares = np.maximum(0, 1 - distance / np.maximum(1, 1 / factor).astype(np.float32)[:, None, None])
    left, inside, right = np.split(shares, 3, axis=2)
    shares = left[:, :, ::-1] + inside + right[:, :, ::-1]
    return shares / shares.sum(axis=2, keepdims=True)


def recolour(images, rng, share, strength):
    """Change brightness, contrast and saturation of a `share` of the images (Howard 2013, arXiv
    1312.5402): by factors from 1 - strength to 1 + strength, the saturation by twice that.

    Args:
        images: uint8 [N,H,W,3].
    """
    chosen = np.flatnonzero(rng.uniform(0, 1, len(images)) < share)
    brightness, contrast, saturation = [
        1 + strength * rng.uniform(-most, most, len(images)).astype(np.float32)[chosen, None, None, None]
        for most in (1, 1, 2)]
    pixels = images[chosen].astype(np.float32)
    grey = pixels.dot(np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    mean = grey.mean(axis=(1, 2), keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    pixels = brightness * (mean + contrast * (pixels - mean))
    result = images.copy()
    result[chosen] = np.clip(np.rint(pixels), 0, 255)
    return result
