"""Augmentation: functions of (images, rng), images uint8 [N,H,W,3] in and out."""
import numpy as np
from PIL import Image


def training_batch(images, flipped, recipe, progress, rng):
    """Return a batch as a training step sees it: images uint8 [N,32,32,3] -> uint8 [N,S,S,3].

    The images where `flipped`, bool [N], is true are flipped; `progress`, the fraction of the run
    that is over, decides the side S.
    """
    images = flip(shift(images, rng, recipe.shift), flipped)
    for change, prob, *strength in (
            (closer, recipe.closer_prob), (tilt, recipe.tilt_prob),
            (scale_jitter, recipe.scale_jitter_prob, recipe.scale_jitter),
            (colour_jitter, recipe.colour_jitter_prob, recipe.colour_jitter),
            (hue_jitter, recipe.hue_jitter_prob), (grey, recipe.grey_prob),
            (dark, recipe.dark_prob), (on_ground, recipe.ground_prob)):
        if prob:
            images = change(images, rng, prob, *strength)
    if recipe.cutout:
        images = cutout(images, rng, recipe.cutout)
    for stage in recipe.schedule.stages[:-1]:
        if progress < stage.end:
            return random_resized_crop(images, rng, stage.side, stage.crop)
    return images


def shift(images, rng, largest):
    """Shift each image by up to `largest` pixels along both axes, with reflect padding."""
    padded = np.pad(images, ((0, 0), (largest, largest), (largest, largest), (0, 0)), "reflect")
    return random_crop(padded, rng, images.shape[1])


def random_crop(images, rng, side):
    """Crop [N,side,side,3] from images [N,H,H,3], at a random place in each."""
    tops, lefts = rng.randint(0, images.shape[1] - side + 1, [2, len(images)])
    return np.stack([image[top:top + side, left:left + side]
                     for image, top, left in zip(images, tops, lefts)])


def flip(images, chosen):
    """Flip horizontally the images where `chosen`, bool [N], is true."""
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def cutout(images, rng, size):
    """Fill a random square of `size` pixels with the mean colour (cutout, arXiv 1708.04552)."""
    result = images.copy()
    tops, lefts = rng.randint(0, images.shape[1] - size + 1, [2, len(images)])
    for image, top, left in zip(result, tops, lefts):
        image[top:top + size, left:left + size] = 125, 123, 114
    return result


def random_resized_crop(images, rng, side, largest):
    """Crop a random square from each image and resize it to [N,side,side,3].

    The size of the squares, from `side` to `largest`, is drawn once per call. Early epochs cost
    less on small images and learn nearly as much (progressive learning, Tan and Le 2021, arXiv
    2104.00298); crops of several sizes keep the scale of objects varied.
    """
    crops = random_crop(images, rng, rng.randint(side, largest + 1))
    return crops if crops.shape[1] == side else resize_down(crops, side)


def resize_down(images, side):
    """Resize images [N,H,H,3] to [N,side,side,3]: each new pixel is the mean of its area."""
    whole = images.shape[1]
    # Row i holds the weights of the old pixels in new pixel i.
    weights = np.repeat(np.eye(whole, dtype=np.float32), side, axis=0)
    weights = weights.reshape(side, whole, whole).mean(axis=1)
    rows = np.matmul(weights, images.reshape(len(images), whole, -1).astype(np.float32))
    both = np.matmul(weights, rows.reshape(-1, whole, images.shape[-1]))
    return np.rint(both).astype(np.uint8).reshape(len(images), side, side, -1)


def scale_jitter(images, rng, prob, scales, stretch=4 / 3):
    """Scale, stretch and shift an image uint8 [S,S,3] at random, with probability `prob`.

    Photographs show objects at sizes that CIFAR-10 does not have, and squashing a rectangle to a
    square stretches them. Beyond the border: reflect padding. Logarithms are uniform: of the factor
    of size between the two `scales`, of the ratio between width and height up to `stretch`.
    """
    drawn = [rng.uniform(low, high, len(images)) for low, high in (
        (0, 1), np.log(scales), np.log((1 / stretch, stretch)), (-0.5, 0.5), (-0.5, 0.5))]
    chosen = np.flatnonzero(drawn[0] < prob)
    scale, ratio, top, left = [numbers[chosen] for numbers in drawn[1:]]
    count, side = len(chosen), images.shape[1]
    rows = resampling(np.exp(scale + ratio / 2), top, side)
    columns = resampling(np.exp(scale - ratio / 2), left, side)
    tall = np.matmul(rows, images[chosen].reshape(count, side, 3 * side).astype(np.float32))
    scaled = np.matmul(columns[:, None], tall.reshape(count, side, side, 3))
    return replace(images, chosen, scaled)


def resampling(factor, place, side):
    """Return float32 [N,side,side]: the weight of each pixel of a row in each new one.

    The filter is a triangle as wide as a new pixel, or an old one if that is wider, as Pillow's.
    The new row shows things `factor` [N] times larger; `place` [N], from -0.5 to 0.5, is where in
    the old row it lies, or the other way round.
    """
    middle = side / 2 + place * np.abs(side / factor - side)
    centres = middle[:, None] + (np.arange(side) + 0.5 - side / 2) / factor[:, None]
    centres = np.clip(centres, 0.5 - side, 2 * side - 0.5)  # one mirror image on either side
    distance = np.abs(np.arange(-side, 2 * side) + 0.5 - centres[:, :, None]).astype(np.float32)
    widths = np.maximum(1, 1 / factor).astype(np.float32)[:, None, None]
    weights = np.maximum(0, 1 - distance / widths)
    left, inside, right = np.split(weights, 3, axis=2)
    weights = left[:, :, ::-1] + inside + right[:, :, ::-1]
    return weights / weights.sum(axis=2, keepdims=True)


# Brightness Y and the two coordinates of a colour, I and Q, from red, green and blue.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
GREY = YIQ[0].astype(np.float32)
SEPIA = 1.07, 0.86, 0.60  # of the grey level, in red, green and blue
TURN = np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]])  # by 90 degrees in the plane of I and Q
TURN_RGB = np.linalg.inv(YIQ).dot(TURN).dot(YIQ).T.astype(np.float32)


def colour_jitter(images, rng, prob, strength):
    """Change brightness, contrast and saturation of an image uint8 [H,W,3] with probability `prob`,
    by factors of 1 - strength to 1 + strength, or twice that (Howard 2013, arXiv 1312.5402)."""
    chosen = np.flatnonzero(rng.uniform(0, 1, len(images)) < prob)
    drawn = np.float32([rng.uniform(-most, most, len(images)) for most in (1, 1, 2)])
    brightness, contrast, saturation = 1 + strength * drawn[:, chosen, None, None, None]
    pixels = images[chosen].astype(np.float32)
    grey = pixels.dot(GREY)[..., None]
    mean = grey.mean(axis=(1, 2), keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    pixels = brightness * (mean + contrast * (pixels - mean))
    return replace(images, chosen, pixels)


def hue_jitter(images, rng, prob):
    """Rotate the hues of an image uint8 [H,W,3] by one random angle, with probability `prob`.

    A frog may be blue. The hue is the angle of a colour around the axis of greys, in the plane of
    YIQ's I and Q; what is grey stays as it is.
    """
    angles = rng.uniform(-np.pi, np.pi, len(images)).astype(np.float32)[:, None, None, None]
    chosen = np.flatnonzero(rng.uniform(0, 1, len(images)) < prob)
    pixels = images[chosen].astype(np.float32)
    grey = pixels.dot(GREY)[..., None]
    colour = pixels - grey
    pixels = grey + np.cos(angles[chosen]) * colour + np.sin(angles[chosen]) * colour.dot(TURN_RGB)
    return replace(images, chosen, pixels)


def grey(images, rng, prob):
    """Turn an image uint8 [H,W,3] grey, or sepia as often, with probability `prob`."""
    chosen = np.flatnonzero(rng.uniform(0, 1, len(images)) < prob)
    tones = np.where(rng.uniform(0, 1, (len(images), 1)) < 0.5, (1, 1, 1), SEPIA)[chosen]
    levels = images[chosen].astype(np.float32).dot(GREY)
    return replace(images, chosen, levels[..., None] * tones[:, None, None].astype(np.float32))


def dark(images, rng, prob):
    """Show an image uint8 [H,W,3] as at night, dark and noisy, with probability `prob`."""
    chosen = np.flatnonzero(rng.uniform(0, 1, len(images)) < prob)
    drawn = np.float32([rng.uniform(*between, len(chosen))
                        for between in ((1, 2), (0.25, 0.7), (0, 8))])
    gamma, light, noise = drawn[..., None, None, None]
    pixels = 255 * light * (images[chosen].astype(np.float32) / 255) ** gamma
    return replace(images, chosen,
                   pixels + noise * rng.standard_normal(pixels.shape).astype(np.float32))


def tilt(images, rng, prob):
    """Rotate an image uint8 [S,S,3] by up to 20 degrees, with probability `prob`.

    Half of them are shown whole, with corners of one colour, mostly black or white; of the others
    the largest square without corners is shown.
    """
    side = images.shape[1]

    def rotated(image):
        angle, whole = rng.uniform(-20, 20), rng.rand() < 0.5
        turned = image.rotate(angle, Image.BICUBIC, whole, fillcolor=plain_colour(rng))
        if not whole:
            radians = np.deg2rad(abs(angle))
            edge = side / 2 * (1 - 1 / (np.cos(radians) + np.sin(radians)))
            turned = turned.crop((edge, edge, side - edge, side - edge))
        return turned.resize((side, side), Image.BICUBIC)
    return with_pillow(images, rng, prob, rotated)


def closer(images, rng, prob):
    """Enlarge a square, of 0.5 to 0.8 of the side, of an image uint8 [S,S,3] with this probability.

    A photograph may show a part, a head above all, where CIFAR-10 shows a whole animal.
    """
    side = images.shape[1]

    def cropped(image):
        edge = side * rng.uniform(0.5, 0.8)
        left, top = (side - edge) * rng.uniform(0.2, 0.8, 2)
        return image.resize((side, side), Image.BICUBIC, (left, top, left + edge, top + edge))
    return with_pillow(images, rng, prob, cropped)


def on_ground(images, rng, prob):
    """Show an image uint8 [S,S,3], 0.4 to 0.8 as large, on a ground, with probability `prob`.

    The ground is of one colour or, as often, an enlarged part of another of the images.
    """
    side = images.shape[1]

    def placed(image):
        width, height = rng.randint(int(0.4 * side), int(0.8 * side) + 1, 2)
        left, top = rng.randint(0, side - width + 1), rng.randint(0, side - height + 1)
        ground = Image.new("RGB", image.size, plain_colour(rng))
        if rng.rand() < 0.5:
            corner = side // 4
            ground = Image.fromarray(images[rng.randint(len(images))]).resize(
                image.size, Image.BICUBIC, (0, 0, corner, corner))
        ground.paste(image.resize((width, height), Image.BICUBIC), (left, top))
        return ground
    return with_pillow(images, rng, prob, placed)


def plain_colour(rng):
    """Return a colour (red, green, blue): black, white or any, alike often."""
    return [(0, 0, 0), (255, 255, 255), tuple(rng.randint(0, 256, 3).tolist())][rng.randint(3)]


def with_pillow(images, rng, prob, function):
    """Apply `function` of a Pillow image to each of uint8 [N,S,S,3] with probability `prob`."""
    result = images.copy()
    for number in np.flatnonzero(rng.uniform(0, 1, len(images)) < prob):
        result[number] = function(Image.fromarray(images[number]))
    return result


def replace(images, chosen, pixels):
    """Return a copy of images uint8 [N,H,W,3] in which `chosen`, int [M], are float [M,H,W,3]."""
    result = images.copy()
    result[chosen] = np.clip(np.rint(pixels), 0, 255)
    return result
