"""The pictures of exercise 1: arrays in, a Pillow image out.

The overview shows a picture beside what two filters make of it; the steps explain a convolution.
"""
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from support.figures import matplotlib

PANEL = 640  # the overview shows each picture in this many pixels square
ONES = 1.6   # a scale on which 1 and -1 are pale enough to read upon
INK, GREY, GREEN, PURPLE = "#1c2028", "#606874", "#148a3c", "#8a2fc0"
PATTERN_NAMES = ["arm", "centre", "other arm"]


def fit(picture):
    """The picture scaled to fill a panel, as a sharp mosaic if it is enlarged."""
    scale = min(PANEL / picture.width, PANEL / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.LANCZOS if scale < 1 else Image.NEAREST, reducing_gap=3.0)


def draw_overview(picture, patterns, filters):
    """The source and the two results side by side, titled, with the filters beside their work.

    Drawn by Pillow, with the font that comes with matplotlib: Pillow 9.5 and 13 draw the same
    pixels, which two versions of matplotlib do not.

    Args:
        picture: PIL.Image.
        patterns: uint8 [2, rows, columns], the horizontal and the vertical patterns.
        filters: the two filters that found them, [3, 3] each.
    Returns:
        PIL.Image in RGB.
    """
    def font(size):
        path = os.path.join(matplotlib().get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)

    panels = [
        ("Source", None, "%d × %d pixels,\nfiltered in shades of grey" % picture.size),
        ("(a) Horizontal patterns", filters[0], "The filter: bright where a pixel's\n"
                                                "upper and lower sides differ"),
        ("(b) Vertical patterns", filters[1], "The filter: bright where a pixel's\n"
                                              "left and right sides differ")]
    shown = [fit(image) for image in [picture] + [Image.fromarray(p) for p in patterns]]
    margin, title_height, cell = 28, 76, 34
    tallest = shown[0].height
    width = margin + len(panels) * (PANEL + margin)
    overview = Image.new("RGB", (width, title_height + tallest + 3 * cell + 2 * margin), "white")
    draw = ImageDraw.Draw(overview)
    ink, pale = (28, 32, 40), (96, 104, 116)
    below = title_height + tallest + margin
    for index, ((title, kernel, caption), image) in enumerate(zip(panels, shown)):
        left = margin + index * (PANEL + margin)
        draw.text((left, 22), title, ink, font(28))
        overview.paste(image, (left + (PANEL - image.width) // 2, title_height))
        text_left = left
        if kernel is not None:
            draw_kernel(draw, kernel, left, below, cell, font(17))
            text_left += 3 * cell + 20
        draw.multiline_text((text_left, below + 22), caption, pale, font(20), spacing=10)
    return overview


def draw_kernel(draw, kernel, left, top, cell, font):
    """A filter as a grid of numbers, orange above zero and blue below, as in the steps' picture."""
    for (row, column), weight in np.ndenumerate(kernel.astype(int)):
        x, y = left + column * cell, top + row * cell
        fill = (253, 219, 199) if weight > 0 else (209, 229, 240) if weight < 0 else (247, 247, 247)
        draw.rectangle([x, y, x + cell, y + cell], fill, (150, 156, 166))
        label = str(weight).replace("-", "−")
        draw.text((x + cell / 2, y + cell / 2), label, (28, 32, 40), font, anchor="mm")


class Sheet:
    """A matplotlib figure measured in cells, x to the right and y down, that draws number grids."""

    def __init__(self, columns, rows, cell_inches=0.36):
        figure_class = matplotlib().figure.Figure
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        self.figure = figure_class(figsize=(columns * cell_inches, rows * cell_inches), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes([0, 0, 1, 1])
        self.axes.set(xlim=(0, columns), ylim=(rows, 0))
        self.axes.axis("off")
        self.colours = matplotlib().colormaps["RdBu_r"]

    def text(self, x, y, words, points=13, colour=INK, **style):
        self.axes.text(x, y, words, fontsize=points, color=colour, va="center", **style)

    def numbers(self, left, top, values, full_scale=9.0):
        """A grid with a number in each cell: red above zero, blue below, deepest at full_scale."""
        for (row, column), value in np.ndenumerate(values):
            shade = self.colours(0.5 + 0.31 * value / full_scale)
            self.frame(left + column, top + row, 1, 1, GREY, 0.4, facecolor=shade)
            # A digit is centred by its own height, a text by that of its line: hence 0.54.
            self.text(left + column + 0.5, top + row + 0.54, f"{value:.0f}".replace("-", "−"), 13,
                      INK if value else GREY, ha="center")
        self.frame(left, top, values.shape[1], values.shape[0], INK, 1.2)

    def frame(self, left, top, width, height, colour, thickness, facecolor="none"):
        self.axes.add_patch(matplotlib().patches.Rectangle((left, top), width, height, facecolor=facecolor,
                                                           edgecolor=colour, linewidth=thickness,
                                                           zorder=1 if thickness < 3 else 5))

    def arrow(self, start, end, colour=INK):
        self.axes.annotate("", end, start, zorder=6, arrowprops=dict(
            arrowstyle="-|>,head_width=0.35,head_length=0.6", color=colour, linewidth=1.8,
            shrinkA=0, shrinkB=0))

    def picture(self):
        self.canvas.draw()
        return Image.fromarray(np.array(self.canvas.buffer_rgba())).convert("RGB")


def draw_one_position(sheet, left, top, start, patch, pattern, name, colour):
    """The arithmetic of one cell of the first feature map, from the window's pixels to the sum.

    Args:
        left, top: where.
        start: the arrow's beginning, (x, y).
        patch, pattern: [3, 3], a window of the X and the filter.
    """
    products = patch * pattern
    sheet.arrow(start, (left - 0.2, top + 1.5), colour)
    for x, values, label, sign in [(0, patch, name, "×"), (4.5, pattern, "the filter", "="),
                                   (9, products, "cell by cell", "")]:
        sheet.numbers(left + x, top, values, ONES)
        sheet.text(left + x + 1.5, top + 3.6, label, 13, GREY, ha="center")
        sheet.text(left + x + 3.75, top + 1.5, sign, 20, ha="center")
    sheet.frame(left, top, 3, 3, colour, 4)
    sheet.arrow((left + 12.3, top + 1.5), (left + 14.0, top + 1.5))
    for line, terms in enumerate(products):
        signed = "  ".join("+ 1" if term > 0 else "− 1" for term in terms)
        sheet.text(left + 14.5, top + 0.54 + line, signed, 15)
    sheet.text(left + 19.4, top + 1.5, "=", 20, ha="center")
    sheet.numbers(left + 20.4, top + 1, products.sum().reshape(1, 1))
    sheet.frame(left + 20.4, top + 1, 1, 1, colour, 4)


def draw_pipeline(sheet, left, top, letter, maps, rectified, pooled):
    """Three rows, one a filter: the letter's feature map, then ReLU, then max-pooling."""
    for x, name, meaning in [(0, f"Feature map of the {letter}", "49 positions, 49 sums"),
                             (8.8, "ReLU", "below zero becomes 0"),
                             (17.6, "Max-pooling", "largest of each 2×2")]:
        sheet.text(left + x, top - 2.3, name, 15, weight="bold")
        sheet.text(left + x, top - 1.1, meaning, 13, GREY)
    for index in range(3):
        y = top + 8 * index
        sheet.numbers(left, y, maps[..., index])
        sheet.arrow((left + 7.2, y + 3.5), (left + 8.6, y + 3.5))
        sheet.numbers(left + 8.8, y, rectified[..., index])
        sheet.frame(left + 8.8, y, 2, 2, INK, 3)
        sheet.arrow((left + 16.0, y + 3.5), (left + 17.4, y + 3.5))
        sheet.numbers(left + 17.6, y + 1.5, pooled[..., index])
        sheet.frame(left + 17.6, y + 1.5, 1, 1, INK, 3)


def draw_steps(letters, filters, maps, rectified, pooled):
    """The explanation from top to bottom, as a PIL.Image, of the X and the O.

    Args:
        letters: [2, 9, 9] of 1 and -1.
        filters: [3, 3, 3], the first axis the filters.
        maps, rectified: [2, 7, 7, 3], the last axis the filters.
        pooled: [2, 4, 4, 3].
    """
    sheet = Sheet(59, 52)
    sheet.text(1.5, 1.9, "How a convolution tells an X from an O", 30, weight="bold")

    sheet.text(1.5, 5.0, "1  A picture is numbers", 18, weight="bold")
    sheet.text(1.5, 6.4, "ink is 1, paper is −1", 14, GREY)
    for left, letter in zip((1.5, 48.5), letters):
        sheet.numbers(left, 7.8, letter, ONES)
    sheet.text(48.5, 6.4, "the O is numbers, too", 14, GREY)

    sheet.text(14.5, 5.0, "2  A filter looks for one pattern", 18, weight="bold")
    sheet.text(14.5, 6.4, "multiply the cells of a window by those of the filter, add up: "
                          "how alike are they?", 14, GREY)
    for window, y, arrow, name, verdict, colour in [
            ((1, 1), 7.8, (5.5, 8.9), "an arm", "9: the same pattern.\nThe most there can be.", GREEN),
            ((1, 5), 13.1, (9.6, 11.8), "the other arm", "1: hardly alike.\nThe opposite would be −9.",
             PURPLE)]:
        row, column = window
        draw_one_position(sheet, 14.5, y, arrow, letters[0][row:row + 3, column:column + 3],
                          filters[0], name, colour)
        sheet.frame(1.5 + column, 7.8 + row, 3, 3, colour, 4)
        sheet.text(37.2, y + 1.5, verdict, 15, linespacing=1.5)

    sheet.text(1.5, 20.0, "3  Slide each filter over the whole picture, then keep what matters", 18,
               weight="bold")
    for left, letter, index in [(7.4, "X", 0), (35.4, "O", 1)]:
        draw_pipeline(sheet, left, 24.3, letter, maps[index], rectified[index], pooled[index])
    sheet.text(1.5, 22.0, "Filter", 15, weight="bold")
    sheet.text(1.5, 23.2, "one pattern", 13, GREY)
    for index, pattern in enumerate(filters):
        y = 24.3 + 8 * index
        sheet.numbers(1.5, y + 2, pattern, ONES)
        sheet.text(3.0, y + 5.6, PATTERN_NAMES[index], 13, GREY, ha="center")
        sheet.arrow((4.7, y + 3.5), (7.2, y + 3.5))
    for (row, column), colour in [((1, 1), GREEN), ((1, 5), PURPLE)]:
        sheet.frame(7.4 + column, 24.3 + row, 1, 1, colour, 4)

    best = pooled.max(axis=(1, 2)).astype(int)
    sheet.text(1.5, 49.0, "The best match of each filter:  X {}, {}, {}   O {}, {}, {}.  ".format(
        *best.ravel()) + "Arms alone can be found in an O; the centre is in the X only.", 18,
               weight="bold")
    sheet.text(1.5, 50.5, "Here the filters were chosen by hand. A network finds its own while it "
                          "learns.", 14, GREY)
    return sheet.picture()
