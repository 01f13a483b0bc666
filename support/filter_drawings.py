"""The overview of exercise 1: a picture beside what two filters make of it, as a Pillow image."""
import numpy as np
from PIL import Image, ImageDraw

from figures.common import GREY, INK, LINE
from support.sheet import font, shade

PANEL = 640  # the overview shows each picture in this many pixels square


def fit(picture):
    """The picture scaled to fill a panel, as a sharp mosaic if it is enlarged."""
    scale = min(PANEL / picture.width, PANEL / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.LANCZOS if scale < 1 else Image.NEAREST, reducing_gap=3.0)


def draw_overview(picture, patterns, filters):
    """The source and the two results side by side, titled, with the filters beside their work.

    Args:
        picture: PIL.Image.
        patterns: uint8 [2, rows, columns], the horizontal and the vertical patterns.
        filters: the two filters that found them, [3, 3] each.
    Returns:
        PIL.Image in RGB.
    """
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
    below = title_height + tallest + margin
    for index, ((title, kernel, caption), image) in enumerate(zip(panels, shown)):
        left = margin + index * (PANEL + margin)
        draw.text((left, 22), title, INK, font(28))
        overview.paste(image, (left + (PANEL - image.width) // 2, title_height))
        text_left = left
        if kernel is not None:
            draw_kernel(draw, kernel, left, below, cell, font(17))
            text_left += 3 * cell + 20
        draw.multiline_text((text_left, below + 22), caption, GREY, font(20), spacing=10)
    return overview


def draw_kernel(draw, kernel, left, top, cell, font):
    """A filter as a grid of numbers, orange above zero and blue below, as in the steps' picture."""
    for (row, column), weight in np.ndenumerate(kernel.astype(int)):
        x, y = left + column * cell, top + row * cell
        draw.rectangle([x, y, x + cell, y + cell], shade(np.sign(weight), 2), LINE)
        label = str(weight).replace("-", "−")
        draw.text((x + cell / 2, y + cell / 2), label, INK, font, anchor="mm")
