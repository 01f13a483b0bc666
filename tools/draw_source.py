"""Draw images/source.jpg: a suspension bridge at sunset, the same pixels on every machine.

The picture of the course page is not to be had, so this one is drawn for the two filters of
ex01_filters.py: what should stand out in (a) is horizontal to the pixel (deck, ripples), what
should stand out in (b) is vertical to the pixel (pylons, hangers).

    python tools/draw_source.py [FILE]

Only float64 NumPy arithmetic draws; Pillow encodes the JPEG and does nothing else, because its
ImageDraw and its filters have changed between versions.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check()

import numpy as np
from PIL import Image

from support import console

WIDTH, HEIGHT = 960, 640        # pixels
OVERSAMPLING = 2                # drawn at this multiple, then averaged
SEED = 6                        # the best sky of four

WATERLINE = 424                 # y of the horizon on the water
DECK_TOP, DECK_BOTTOM = 336, 351
PYLON_CENTRES = (262, 698)      # x
PYLON_TOP, PYLON_HALF_WIDTH = 62, 11
SPAN_CENTRE = sum(PYLON_CENTRES) / 2.0
HALF_SPAN = (PYLON_CENTRES[1] - PYLON_CENTRES[0]) / 2.0
CABLE_LOW = DECK_TOP - 14       # y of the main cable in the middle of the span
HANGER_SPACING = 16             # pixels
SUN = (424.0, 374.0)            # x, y

# Boxes (left, top, right, bottom), right and bottom exclusive, for whoever measures the filters:
# each holds one kind of structure and as little as possible of the others.
DECK_REGION = (300, 332, 660, 355)
RIPPLES_REGION = (330, 520, 630, 636)
PYLON_REGIONS = tuple((x - 16, 150, x + 17, 320) for x in PYLON_CENTRES)
HANGER_REGIONS = ((284, 262, 350, 326), (610, 262, 676, 326))

# Distances for the water's perspective.
FOCAL_LENGTH = 900.0            # pixels
CAMERA_HEIGHT = 11.0            # metres


def spectral_noise(rng, shape, exponent, stretch=1.0):
    """Periodic noise of unit variance whose amplitude falls as frequency**-exponent.

    Args:
        rng: np.random.RandomState, whose streams NumPy guarantees from version to version.
        shape: (rows, columns).
        exponent: 0 is white; clouds look like clouds from about 1.5.
        stretch: how many times longer than high the blobs are.
    Returns: float64 [rows, columns].
    """
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]) * stretch)
    frequency[0, 0] = 1.0
    spectrum *= frequency ** -exponent
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, shape)
    return noise / noise.std()


def sample(texture, x, y):
    """texture [rows, columns, ...] at real coordinates (in cells, periodic), bilinear."""
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - column, y - row
    if texture.ndim == 3:
        fx, fy = fx[..., None], fy[..., None]
    rows, columns = texture.shape[:2]
    row, below = row % rows, (row + 1) % rows
    column, right = column % columns, (column + 1) % columns
    return ((texture[row, column] * (1 - fx) + texture[row, right] * fx) * (1 - fy)
            + (texture[below, column] * (1 - fx) + texture[below, right] * fx) * fy)


def smoothstep(low, high, x):
    """0 below low, 1 above high, and a smooth ramp between (Hermite's cubic)."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def inside(distance):
    """Coverage 0..1 of a shape, from the signed distance (pixels, negative inside) to its edge."""
    return np.clip(0.5 - distance * OVERSAMPLING, 0.0, 1.0)


def paint(image, colour, coverage):
    """Lay a colour (RGB or an image, 0..255) over the image in place where coverage is."""
    image += (np.asarray(colour, float) - image) * coverage[..., None]


def draw_sky(x, y, rng):
    """Float64 RGB [rows, columns, 3]: the gradient, the sun's glow, high streaks, low clouds."""
    height = np.clip((WATERLINE - y) / WATERLINE, 0.0, 1.0)         # 0 on the horizon, 1 on top
    stops = [0.0, 0.12, 0.30, 0.60, 1.0]
    colours = np.array([[255, 205, 140], [252, 196, 138], [226, 178, 158],
                        [138, 150, 182], [58, 88, 140]], float)
    image = np.stack([np.interp(height, stops, colours[:, c]) for c in range(3)], axis=-1)

    distance = np.hypot(x - SUN[0], (y - SUN[1]) * 1.25)
    paint(image, (255, 222, 160), 0.75 * np.exp(-(distance / 230.0) ** 1.2))

    # Clouds lie on a ceiling: seen in perspective they flatten towards the horizon.
    ceiling = 1.0 / (height + 0.22)
    u, v = (x - SPAN_CENTRE) * ceiling * 0.40, 210.0 * ceiling
    texture = spectral_noise(rng, (1024, 1024), 1.6, stretch=1.8)
    density = sample(texture, u + 140.0, v)
    towards_sun = sample(texture, u + 140.0 + 9.0 * np.tanh((SUN[0] - x) / 200.0), v + 10.0)
    cover = smoothstep(-0.55, 1.0, density) * smoothstep(0.12, 0.50, height)
    lit = smoothstep(-0.35, 0.45, density - towards_sun)
    glow = np.exp(-distance / 330.0)
    shade = np.stack([150 + 70 * glow, 136 + 30 * glow, 158 - 20 * glow], axis=-1)
    light = np.stack([255 + 0 * glow, 214 + 20 * glow, 190 - 10 * glow], axis=-1)
    paint(image, shade + (light - shade) * lit[..., None], 0.80 * cover)

    streaks = sample(spectral_noise(rng, (512, 512), 1.5, stretch=7.0), u * 0.35, v * 0.9)
    paint(image, (255, 226, 206), 0.35 * smoothstep(0.2, 2.2, streaks) * smoothstep(0.2, 0.6, height))

    paint(image, (255, 244, 214), np.exp(-(distance / 46.0) ** 1.5) * 0.9)
    paint(image, (255, 252, 236), smoothstep(19.0, 13.0, np.hypot(x - SUN[0], y - SUN[1])))
    return image


def draw_hills(image, x, y, rng):
    """Four ridges, each nearer one darker and less hazy, open in the middle where the sun sets."""
    for base, rise, roughness, colour, seam in [
            (398, 26, 16, (226, 168, 140), 0.0), (404, 34, 18, (196, 142, 132), 0.15),
            (411, 44, 16, (152, 112, 118), 0.35), (417, 52, 13, (100, 80, 94), 0.55)]:
        profile = spectral_noise(rng, (1, 4096), 1.25)[0]
        outline = np.interp(x[0] * 1.2, np.arange(4096), profile)
        valley = smoothstep(seam * 330.0, 330.0 + seam * 300.0, np.abs(x[0] - SUN[0] - 40))
        ridge = base - rise * valley - roughness * outline * (0.2 + 0.8 * valley)
        ridge = np.minimum(ridge, WATERLINE - 1.0)
        coverage = inside(ridge[None, :] - y)
        haze = smoothstep(-60.0, 30.0, y - WATERLINE)[..., None]
        glow = np.exp(-np.abs(x - SUN[0]) / 210.0)[..., None]
        tint = np.asarray(colour, float) + ([250, 196, 140] - np.asarray(colour, float)) * (
            0.45 * haze + 0.40 * glow)
        paint(image, tint, coverage)


def cable_height(x):
    """y of the main cables: a parabola under the even load of the deck; shallower outside."""
    main = CABLE_LOW + (PYLON_TOP + 6 - CABLE_LOW) * ((x - SPAN_CENTRE) / HALF_SPAN) ** 2
    outside = (np.abs(x - SPAN_CENTRE) - HALF_SPAN) / 300.0         # 0 at the pylon
    side = PYLON_TOP + 6 + (DECK_TOP - 4 - PYLON_TOP - 6) * (1.28 * outside - 0.28 * outside ** 2)
    return np.where(np.abs(x - SPAN_CENTRE) <= HALF_SPAN, main, side)


def draw_cables(image, x, y, colour, thickness, strength):
    """The main cable and its hangers, vertical to the pixel, down to the deck."""
    cable = cable_height(x)
    slope = np.gradient(cable[0], x[0])[None, :]
    distance = np.abs(y - cable) / np.sqrt(1.0 + slope ** 2)
    offset = np.abs((x - SPAN_CENTRE) % HANGER_SPACING - HANGER_SPACING / 2.0)
    hanger = inside(offset - thickness * 0.38) * (y > cable) * (y < DECK_TOP + 2)
    paint(image, colour, strength * 0.85 * hanger)
    paint(image, colour, strength * inside(distance - thickness))


def draw_pylon(image, x, y, centre, colours):
    """One leg with art-deco setbacks; colours are (face, sunlit edge, shadow)."""
    face, lit, shadow = colours
    for top, bottom, growth in [(PYLON_TOP, 150, 0.0), (146, 240, 1.5), (236, 336, 3.0),
                                (330, WATERLINE - 6, 4.5)]:
        half = PYLON_HALF_WIDTH + growth
        body = inside(np.maximum(np.abs(x - centre) - half, np.maximum(top - y, y - bottom)))
        paint(image, face, body)
        side = np.sign(SUN[0] - centre)
        paint(image, lit, body * inside(half - 4.0 - (x - centre) * side))
        paint(image, shadow, body * inside(half - 5.0 + (x - centre) * side))
        for flute in (-3.5, 2.5):
            paint(image, shadow, 0.55 * body * inside(np.abs(x - centre - flute) - 0.8))
    saddle = np.maximum(np.abs(x - centre) - 6.0, np.maximum(PYLON_TOP - 7 - y, y - PYLON_TOP))
    paint(image, face, inside(saddle))
    pier = np.maximum(np.abs(x - centre) - 27.0, np.maximum(WATERLINE - 10 - y, y - WATERLINE - 1))
    paint(image, (96, 82, 84), inside(pier))
    paint(image, (170, 138, 116), inside(np.maximum(pier, y - WATERLINE + 7.5)))


def draw_bridge(image, x, y):
    """The far cable plane in haze, then deck, near cables and pylons against the light."""
    hazy = ((158, 92, 80), (196, 120, 92), (138, 78, 72))
    draw_cables(image, x - 7, y + 1, hazy[0], 1.0, 0.55)
    for centre in PYLON_CENTRES:
        draw_pylon(image, x - 11, y + 2, centre, hazy)
    for top, bottom, colour in [(DECK_TOP - 5.0, DECK_TOP - 4.0, (120, 62, 54)),    # railing
                                (DECK_TOP, DECK_TOP + 3.0, (206, 116, 78)),         # lit kerb
                                (DECK_TOP + 3.0, DECK_BOTTOM - 3.0, (104, 42, 38)),  # girder
                                (DECK_TOP + 7.0, DECK_TOP + 8.5, (150, 72, 54)),
                                (DECK_BOTTOM - 3.0, DECK_BOTTOM + 0.0, (58, 28, 32))]:
        paint(image, colour, inside(np.maximum(top - y, y - bottom)))
    draw_cables(image, x, y, (112, 44, 38), 1.7, 1.0)
    for centre in PYLON_CENTRES:
        draw_pylon(image, x, y, centre, ((150, 58, 42), (228, 122, 74), (92, 36, 36)))


def wave_slopes(x, y, rng):
    """Slopes (towards the viewer, sideways) of the water seen at each pixel below the horizon.

    Waves of a few lengths lie on a plane in perspective; a wave shorter than two rows at its
    distance is left out, or it would turn into moire.
    """
    drop = np.maximum(y - WATERLINE, 0.5)
    distance = CAMERA_HEIGHT * FOCAL_LENGTH / drop                  # metres, along the water
    across = (x - SPAN_CENTRE) * CAMERA_HEIGHT / drop
    row = distance / drop                                           # metres of water in one row
    slope, sideways = np.zeros_like(x), np.zeros_like(x)
    for wavelength, steepness in [(14.0, 0.018), (6.0, 0.026), (2.6, 0.034), (1.2, 0.034)]:
        waves = spectral_noise(rng, (512, 512), 0.0)
        rows, columns = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)
        # A band of frequencies around 1/16 cell, crests three times as long as they are apart.
        band = np.exp(-((np.hypot(rows, 3.0 * columns) - 1 / 16.0) / 0.022) ** 2)
        waves = np.fft.irfft2(np.fft.rfft2(waves) * band, waves.shape)
        waves /= waves.std()
        cell = wavelength / 16.0
        resolved = np.clip(wavelength / (2.0 * row) - 0.6, 0.0, 1.0)
        slope += steepness * resolved * sample(waves, across / cell, distance / cell)
        sideways += 0.3 * steepness * resolved * sample(waves, across / cell + 200.0, distance / cell)
    # What is too short to be resolved still breaks the mirror up, into streaks a row or two high.
    streaks = sample(spectral_noise(rng, (256, 256), 0.6, stretch=6.0), x / 9.0, y * 0.8)
    slope += 0.008 * np.clip(2.2 - 14.0 / (2.0 * row), 0.0, 1.0) * smoothstep(0.0, 12.0, drop) * streaks
    return slope, sideways


def blur_rows(image, radius):
    """The mean of the rows within radius: what the finest ripples do to a reflection."""
    padded = np.pad(image, ((radius + 1, radius), (0, 0), (0, 0)), mode="edge")
    total = np.cumsum(padded, axis=0)
    return (total[2 * radius + 1:] - total[:-2 * radius - 1]) / (2 * radius + 1)


def draw_water(image, x, y, rng):
    """Replace everything below the waterline by the scene's reflection in rippled water."""
    first = WATERLINE * OVERSAMPLING
    x0, y0, x, y = x[:first], y[:first], x[first:], y[first:]
    # The sun is brighter than white: what it adds is seen only where the water dims it.
    glare = np.exp(-np.hypot((x0 - SUN[0]) / 26.0, (y0 - SUN[1]) / 60.0) ** 2)[..., None]
    scene = blur_rows(image[:first] + glare * [420.0, 300.0, 160.0], 5 * OVERSAMPLING)
    slope, sideways = wave_slopes(x, y, rng)
    drop = y - WATERLINE
    # A facet tilted by s turns the reflected ray by 2 s.
    up = np.abs(drop + 2.0 * FOCAL_LENGTH * slope)
    mirrored = np.clip((WATERLINE - up) * OVERSAMPLING - 0.5, 0.0, first - 1.001)
    shifted = np.clip((x + FOCAL_LENGTH * sideways) * OVERSAMPLING - 0.5, 0.0, x.shape[1] - 1.001)
    reflection = sample(scene, shifted, mirrored)
    # Schlick's approximation of Fresnel's reflectance, water 0.02, at the grazing angle.
    grazing = np.clip(drop / FOCAL_LENGTH + slope, 0.0, 1.0)
    reflectance = (0.02 + 0.98 * (1.0 - np.sin(grazing)) ** 5)[..., None]
    depth = smoothstep(0.0, HEIGHT - WATERLINE, drop)[..., None]
    deep = np.array([70.0, 84.0, 96.0]) * (1 - depth) + np.array([16.0, 46.0, 62.0]) * depth
    image[first:] = deep + (reflection * [0.96, 0.95, 0.93] - deep) * reflectance
    mist = np.exp(-drop / 7.0)
    paint(image[first:], (250, 206, 160), 0.45 * mist)


def draw_source():
    """The whole picture, uint8 RGB [640, 960, 3]."""
    rng = np.random.RandomState(SEED)
    y, x = np.mgrid[0:HEIGHT * OVERSAMPLING, 0:WIDTH * OVERSAMPLING]
    x, y = (x + 0.5) / OVERSAMPLING, (y + 0.5) / OVERSAMPLING
    image = draw_sky(x, y, rng)
    draw_hills(image, x, y, rng)
    draw_bridge(image, x, y)
    draw_water(image, x, y, rng)
    image = image.reshape(HEIGHT, OVERSAMPLING, WIDTH, OVERSAMPLING, 3).mean(axis=(1, 3))

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    corner = np.hypot((x - WIDTH / 2.0) / WIDTH, (y - HEIGHT / 2.0) / HEIGHT)
    image *= (1.0 - 0.35 * np.clip(corner - 0.25, 0.0, 1.0) ** 1.5)[..., None]
    grain = 1.6 * rng.standard_normal((HEIGHT, WIDTH, 1)) + 0.5 * rng.standard_normal(image.shape)
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def main():
    """Write the JPEG, without chroma subsampling: decoders differ in how they undo it."""
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "images", "source.jpg")
    parser = console.Parser(description="Draw the bridge that ex01_filters.py filters.")
    parser.add_argument("path", nargs="?", default=os.path.normpath(default),
                        help="the JPEG to write (default: %(default)s)")
    path = parser.parse_args().path
    Image.fromarray(draw_source()).save(path, quality=92, subsampling=0, optimize=True)
    print("Wrote " + path)


if __name__ == "__main__":
    console.run(main)
