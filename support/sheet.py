"""A sheet of grids of numbers, drawn by Pillow with the font that comes with matplotlib.

Pillow 9.5 and 13 draw the same pixels, which two versions of matplotlib do not.
"""
import functools
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from figures.common import GREY, INK, LINE, matplotlib

SMOOTH = 2  # drawn this many times larger, then reduced
# Diverging, pale enough to read numbers upon (RdBu by ColorBrewer): zero is PAPER.
_ABOVE = (247, 247, 247), (253, 219, 199), (244, 165, 130)
_BELOW = (247, 247, 247), (209, 229, 240), (146, 197, 222)


def shade(value, full_scale):
    """Return the (red, green, blue) of a number: orange above zero, blue below, deepest at full."""
    stops = _ABOVE if value > 0 else _BELOW
    place = 2 * min(1, abs(value) / full_scale)
    stop = min(1, int(place))
    return tuple(int(low + (high - low) * (place - stop) + 0.5)
                 for low, high in zip(stops[stop], stops[stop + 1]))


TEXT = 0.72  # cells, the smallest text: 9 pixels where a sheet 30 cells wide has 400


@functools.lru_cache(maxsize=None)
def font(size, bold=False):
    """Return the Pillow font DejaVu Sans of a size in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = os.path.join(matplotlib().get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


class Sheet:
    """A drawing measured in cells, x to the right and y down."""

    def __init__(self, columns, rows, cell=40):
        """Take a white sheet; `cell` in pixels."""
        self.unit = SMOOTH * cell
        self.image = Image.new("RGB", (int(columns * self.unit), int(rows * self.unit)), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x, y, words, size=TEXT, colour=INK, bold=False, anchor="lm"):
        self.draw.text((round(x * self.unit), round(y * self.unit)), words, colour,
                       font(int(size * self.unit), bold), anchor=anchor)

    def heading(self, y, words, meaning):
        """What comes next, and below it in grey what it means."""
        self.text(1, y, words, 1.0, bold=True)
        self.text(1, y + 1.3, meaning, 0.76, GREY)

    def box(self, left, top, width, height, colour=INK, thickness=0.06, fill=None):
        """A frame, `thickness` in cells, inwards and outwards half each."""
        half = thickness / 2
        corners = [round(value * self.unit) for value in
                   (left - half, top - half, left + width + half, top + height + half)]
        self.draw.rectangle(corners, fill, colour, max(1, round(thickness * self.unit)))

    def numbers(self, left, top, values, full_scale=9.0, side=1.0):
        """A grid with a number in each cell, or without where `values` has NaN or cells are small.

        Args:
            values: [rows, columns]; whole numbers.
            full_scale: the number that has the deepest colour.
            side: of a cell; below 0.7 it has its colour only.
        """
        for (row, column), value in np.ndenumerate(values):
            x, y = left + column * side, top + row * side
            unknown = np.isnan(value)
            self.box(x, y, side, side, LINE, 0.03, shade(0 if unknown else value, full_scale))
            if side >= 0.7 and not unknown:
                self.text(x + side / 2, y + side / 2, signed(value), TEXT * side,
                          INK if value else GREY, anchor="mm")
        self.box(left, top, values.shape[1] * side, values.shape[0] * side)

    def arrow(self, x, y, length=1.3, colour=INK, down=False):
        """An arrow to the right or down."""
        def corner(along, across):
            point = (x + across, y + along) if down else (x + along, y + across)
            return tuple(round(value * self.unit) for value in point)
        self.draw.rectangle([min(corner(0, -0.05), corner(length - 0.4, 0.05)),
                             max(corner(0, -0.05), corner(length - 0.4, 0.05))], colour)
        self.draw.polygon([corner(length - 0.45, -0.25), corner(length, 0),
                           corner(length - 0.45, 0.25)], colour)

    def picture(self):
        """Return the Pillow image in RGB."""
        return self.image.reduce(SMOOTH)


def signed(value, form="%.0f"):
    """Return a number; its minus is a dash as wide as a digit, which a cell has room for."""
    return (form % (round(float(value), 2) + 0.0)).replace("-", "–")  # + 0.0: no minus before 0
