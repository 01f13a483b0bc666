"""Draw the sample pictures that ./predict is tried on: python tools/draw_samples.py

Nothing is downloaded: each scene is a background of smooth noise and a few shapes with a bright
and a shaded side, drawn four times too large, reduced, and given the grain of a photograph.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check()

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from support import console

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "images")
WIDTH, HEIGHT, OVERSAMPLING = 480, 360, 4


class Scene:
    """A canvas in units of the final picture's pixels, y downwards."""

    def __init__(self, top, bottom, seed):
        """Start with a vertical gradient between two colours."""
        self.rng = np.random.RandomState(seed)
        height = np.linspace(0, 1, HEIGHT * OVERSAMPLING)[:, None, None]
        pixels = np.array(top) * (1 - height) + np.array(bottom) * height
        pixels = np.broadcast_to(pixels, (HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING, 3))
        self.image = Image.fromarray(pixels.astype(np.uint8))

    def texture(self, box, colour, cell, strength, sharpness=1.0):
        """Mix `colour` into `box` by smooth noise whose grains are `cell` (wide, high) pixels."""
        left, top, right, bottom = [round(value * OVERSAMPLING) for value in box]
        mask = np.zeros((bottom - top, right - left))
        for octave in range(4):
            shape = [max(2, round((right - left) / OVERSAMPLING / cell[0] * 2 ** octave)),
                     max(2, round((bottom - top) / OVERSAMPLING / cell[1] * 2 ** octave))]
            grains = Image.fromarray(self.rng.rand(shape[1], shape[0]).astype(np.float32))
            mask += np.asarray(grains.resize(mask.shape[::-1], Image.BICUBIC)) / 2 ** (octave + 1)
        mask = np.clip((mask - mask.mean()) / mask.std() * sharpness * 0.5 + 0.4, 0, 1) * strength
        self.image.paste(colour, (left, top), Image.fromarray((255 * mask).astype(np.uint8)))

    def polygon(self, points, colour):
        ImageDraw.Draw(self.image).polygon(
            [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points], fill=colour)

    def ellipse(self, box, colour):
        ImageDraw.Draw(self.image).ellipse([value * OVERSAMPLING for value in box], fill=colour)

    def rectangle(self, box, colour):
        ImageDraw.Draw(self.image).rectangle([value * OVERSAMPLING for value in box], fill=colour)

    def smooth(self, points, colour):
        """Fill a closed curve through `points` (Catmull-Rom)."""
        points = np.array(points, float)
        before, after = np.roll(points, 1, 0), np.roll(points, -1, 0)
        far = np.roll(points, -2, 0)
        t = np.linspace(0, 1, 12, endpoint=False)[None, :, None]
        p0, p1, p2, p3 = [p[:, None] for p in (before, points, after, far)]
        curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t ** 2
                       + (3 * p1 - p0 - 3 * p2 + p3) * t ** 3)
        self.polygon([tuple(point) for point in curve.reshape(-1, 2)], colour)

    def shadow(self, box, strength=0.6, blur=6):
        """Darken an ellipse with a soft edge."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).ellipse([value * OVERSAMPLING for value in box],
                                     fill=round(255 * strength))
        mask = mask.filter(ImageFilter.GaussianBlur(blur * OVERSAMPLING))
        self.image.paste((15, 15, 20), (0, 0), mask)

    def wheel(self, x, y, radius):
        self.ellipse((x - radius, y - radius, x + radius, y + radius), (22, 22, 24))
        inner = radius * 0.55
        self.ellipse((x - inner, y - inner, x + inner, y + inner), (150, 152, 158))
        self.ellipse((x - inner / 3, y - inner / 3, x + inner / 3, y + inner / 3), (60, 60, 64))

    def photograph(self):
        """Return the scene at its final size, with a little blur and grain."""
        image = self.image.resize((WIDTH, HEIGHT), Image.LANCZOS)
        image = image.filter(ImageFilter.GaussianBlur(0.6))
        grain = self.rng.normal(0, 3, (HEIGHT, WIDTH, 1)) + self.rng.normal(0, 1.5, (HEIGHT, WIDTH, 3))
        return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def airplane():
    scene = Scene((70, 125, 190), (170, 200, 225), seed=1)
    scene.texture((0, 0, WIDTH, HEIGHT), (240, 243, 247), (170, 60), 0.55, 1.3)
    scene.polygon([(250, 172), (300, 172), (400, 92), (378, 92)], (120, 126, 136))  # far wing
    scene.polygon([(84, 176), (46, 108), (72, 106), (128, 166)], (30, 60, 120))  # fin
    scene.polygon([(70, 186), (30, 168), (48, 166), (112, 178)], (150, 155, 163))  # far tailplane
    scene.smooth([(56, 184), (110, 165), (250, 158), (390, 160), (430, 172), (444, 187),
                  (425, 200), (360, 208), (230, 208), (120, 198)], (236, 238, 242))
    scene.smooth([(75, 190), (200, 196), (360, 196), (440, 189), (424, 201), (360, 209),
                  (230, 209), (120, 199)], (150, 156, 168))
    for x in range(130, 395, 11):
        scene.ellipse((x, 174, x + 5, 180), (50, 58, 72))
    scene.polygon([(414, 168), (432, 172), (437, 179), (416, 177)], (35, 42, 55))  # cockpit
    scene.polygon([(90, 190), (28, 204), (44, 208), (132, 198)], (176, 181, 190))  # near tailplane
    scene.polygon([(300, 196), (228, 198), (118, 288), (146, 288)], (182, 187, 196))  # near wing
    scene.polygon([(300, 196), (146, 288), (150, 291), (306, 200)], (98, 104, 114))
    scene.smooth([(212, 222), (240, 216), (266, 222), (264, 238), (236, 243), (212, 236)],
                 (205, 208, 214))  # engine
    scene.ellipse((256, 219, 270, 241), (60, 64, 72))
    return scene.photograph().rotate(7, Image.BICUBIC, expand=False).crop((34, 32, 446, 330))


def ship():
    scene = Scene((150, 185, 215), (205, 220, 230), seed=2)
    scene.texture((0, 0, WIDTH, 190), (250, 250, 250), (200, 40), 0.5)
    scene.rectangle((0, 190, WIDTH, HEIGHT), (38, 78, 108))
    scene.texture((0, 190, WIDTH, HEIGHT), (95, 140, 165), (40, 5), 0.8, 1.5)
    scene.texture((0, 280, WIDTH, HEIGHT), (20, 50, 80), (60, 9), 0.7, 1.5)
    scene.rectangle((96, 118, 196, 176), (236, 238, 240))  # bridge
    scene.rectangle((96, 118, 112, 176), (180, 186, 194))
    scene.rectangle((108, 92, 180, 118), (244, 245, 246))
    for row, left, right in ((99, 114, 176), (126, 116, 192), (142, 116, 192), (158, 116, 192)):
        for x in range(left, right - 6, 10):
            scene.rectangle((x, row, x + 6, row + 7), (52, 66, 84))
    scene.polygon([(122, 92), (126, 56), (152, 56), (156, 92)], (196, 62, 44))  # funnel
    scene.rectangle((125, 56, 153, 66), (30, 30, 34))
    colours = ((178, 60, 48), (52, 96, 140), (214, 150, 60), (90, 130, 96), (150, 152, 156))
    for column, x in enumerate(range(204, 388, 30)):
        for row in range(1 + (column * 7) % 3):
            scene.rectangle((x, 160 - 17 * row, x + 28, 176 - 17 * row),
                            colours[(column + 2 * row) % 5])
    scene.rectangle((396, 108, 400, 178), (210, 212, 216))  # mast
    scene.polygon([(64, 176), (436, 176), (452, 164), (424, 232), (88, 232)], (34, 48, 84))
    scene.polygon([(86, 226), (427, 226), (420, 246), (96, 246)], (150, 44, 38))
    scene.polygon([(64, 176), (436, 176), (452, 164), (450, 172), (437, 182), (66, 182)],
                  (220, 224, 228))
    scene.texture((60, 238, 450, 262), (226, 236, 240), (30, 6), 0.9, 1.6)
    return scene.photograph()


def truck():
    scene = Scene((150, 185, 220), (215, 225, 232), seed=3)
    scene.texture((0, 130, WIDTH, 240), (58, 84, 48), (30, 24), 1.0, 2.0)
    scene.rectangle((0, 236, WIDTH, HEIGHT), (104, 104, 106))
    scene.texture((0, 236, WIDTH, HEIGHT), (134, 134, 134), (70, 8), 0.5)
    scene.shadow((50, 280, 440, 306))
    scene.rectangle((44, 92, 312, 252), (232, 234, 236))  # box
    scene.rectangle((44, 92, 312, 100), (190, 194, 200))
    for x in range(66, 312, 22):
        scene.rectangle((x, 100, x + 1, 246), (202, 206, 210))
    scene.rectangle((44, 246, 420, 268), (52, 54, 58))
    scene.polygon([(322, 250), (322, 118), (392, 118), (420, 176), (430, 184), (432, 262),
                   (322, 262)], (186, 38, 34))  # cab
    scene.polygon([(346, 176), (346, 132), (386, 132), (408, 176)], (58, 76, 96))
    scene.polygon([(350, 170), (350, 136), (362, 136), (372, 170)], (112, 134, 152))
    scene.rectangle((322, 118, 328, 262), (140, 26, 24))
    scene.rectangle((420, 214, 434, 228), (248, 240, 200))
    scene.rectangle((416, 244, 440, 262), (70, 72, 76))
    for x in (92, 140, 270, 384):
        scene.wheel(x, 270, 24)
    return scene.photograph()


def automobile():
    scene = Scene((165, 195, 222), (218, 226, 232), seed=4)
    scene.texture((0, 90, WIDTH, 220), (84, 108, 70), (46, 30), 1.0, 2.0)
    scene.rectangle((0, 214, WIDTH, HEIGHT), (112, 112, 114))
    scene.texture((0, 214, WIDTH, HEIGHT), (140, 140, 140), (70, 8), 0.5)
    scene.shadow((40, 258, 444, 290))
    scene.smooth([(44, 226), (50, 194), (92, 178), (150, 138), (210, 122), (286, 126), (338, 156),
                  (366, 176), (418, 188), (440, 212), (438, 244), (240, 252), (60, 248)],
                 (176, 28, 30))
    scene.smooth([(52, 226), (240, 222), (438, 224), (436, 246), (240, 254), (60, 250)],
                 (118, 16, 20))
    scene.smooth([(122, 176), (160, 144), (210, 131), (222, 131), (222, 176)], (44, 56, 70))
    scene.smooth([(232, 176), (232, 131), (282, 135), (318, 156), (334, 176)], (52, 66, 82))
    scene.polygon([(246, 134), (266, 135), (296, 174), (276, 174)], (110, 128, 144))
    scene.rectangle((226, 182, 228, 240), (110, 14, 18))
    scene.rectangle((240, 192, 258, 196), (220, 200, 200))
    scene.ellipse((416, 194, 438, 208), (250, 246, 226))
    scene.ellipse((46, 196, 62, 210), (230, 90, 60))
    for x in (120, 366):
        scene.ellipse((x - 38, 214, x + 38, 290), (30, 10, 12))
        scene.wheel(x, 250, 33)
    return scene.photograph()


SAMPLES = {"avion": airplane, "bateau": ship, "camion": truck, "automobile": automobile}


def main():
    parser = console.Parser(description="Draw the sample pictures %s."
                            % ", ".join(name + ".jpg" for name in SAMPLES))
    parser.add_argument("--output-dir", metavar="DIR", default=FOLDER,
                        help="where to write, replacing what is there (default: images/)")
    folder = parser.parse_args().output_dir
    os.makedirs(folder, exist_ok=True)
    for name, draw in SAMPLES.items():
        path = os.path.join(folder, name + ".jpg")
        draw().save(path, quality=90)
        console.say("Drew %s" % path)


if __name__ == "__main__":
    console.run(main)
