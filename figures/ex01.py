"""The pictures of exercise 1: the overview of its results, and convolution step by step."""
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from figures.common import (BLUE, GREY, INK, LARGE, LINE, MEDIUM, ORANGE, PAPER, SMALL, WIDTH,
                            arrow, decimal, matplotlib, new_figure, save_figure, save_gif, save_png,
                            signed_colours, translated)

PALE = "#d1e5f0", PAPER, "#fddbc7"  # below zero, zero, above zero: the filters of the overview
PANEL = 600, 450  # pixels, the most that one of the overview's pictures takes


def draw_overview(picture, patterns, filters, path):
    """Draw the source, and below it both results, each under its filter, into the PNG `path`.

    By Pillow, whose versions draw the same pixels: the tree stays clean whoever runs exercise 1.
    The source is a Pillow image, the results are `patterns` uint8 [2,H,W] of `filters` [2, 3, 3].
    """
    scale = min(PANEL[0] / picture.width, PANEL[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shown = [image.resize(size, Image.LANCZOS if scale < 1 else Image.NEAREST, reducing_gap=3.0)
             for image in [picture] + [Image.fromarray(pattern) for pattern in patterns]]
    font = functools.partial(  # which comes with matplotlib
        ImageFont.truetype, matplotlib().get_data_path() + "/fonts/ttf/DejaVuSans.ttf",
        layout_engine=ImageFont.Layout.BASIC)
    gap, title, cell = 15, 44, 66
    overview = Image.new("RGB", (2 * PANEL[0] + 3 * gap, 2 * (size[1] + title) + gap), "white")
    draw = ImageDraw.Draw(overview)
    right, below = PANEL[0] + 2 * gap, title + size[1]
    names = ("source", gap, 0), ("(a) horizontal", gap, below), ("(b) vertical", right, below)
    for image, (name, left, top) in zip(shown, names):
        draw.text((left, top + title / 2), name, INK, font(size=26), anchor="lm")
        overview.paste(image, (left, top + title))
    for number, (name, kernel) in enumerate(zip("ab", filters)):
        left = right + 60 + 282 * number
        top = title + (size[1] - 3 * cell) // 2
        draw.text((left + 1.5 * cell, top - 30), "(%s)" % name, INK, font(size=30), anchor="mm")
        for (row, column), weight in np.ndenumerate(kernel.astype(int)):
            x, y = left + column * cell, top + row * cell
            draw.rectangle([x, y, x + cell, y + cell], PALE[1 + np.sign(weight)], LINE)
            draw.text((x + cell / 2, y + cell / 2), str(weight).replace("-", "−"),
                      INK if weight else GREY, font(size=32), anchor="mm")
    save_png(overview, path)


# ---- How a network tells an X from an O ----
FRENCH = {  # the words of the animation, which is drawn in both languages
    "window": "fenêtre", "filter": "filtre", "products": "produits", "sum": "somme",
    "stride 1: the window moves by one cell": "pas de 1 : la fenêtre avance d'une case",
    "stride 2: the window moves by two cells": "pas de 2 : la fenêtre avance de deux cases",
    "feature map": "carte de caractéristiques"}
TITLE = dict(ha="left", fontsize=MEDIUM, weight="bold")
ONES = 3.2  # a scale on which 1 and -1 are pale


def canvas(columns, rows):
    """Return a figure and axes over all of it, in cells, x to the right and y down."""
    figure = new_figure(WIDTH * rows / columns, constrained_layout=False)
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, columns), ylim=(rows, 0), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def write(axes, x, y, text, **style):
    """Write a text, its centre at (x, y) unless `style`, as for `axes.text`, differs."""
    axes.text(x, y, text, **dict(dict(ha="center", va="center"), **style))


def frame(axes, left, top, width, height, colour, thickness=3):
    """Draw a rectangle's outline, `thickness` in points."""
    axes.add_patch(matplotlib().patches.Rectangle(
        (left, top), width, height, fill=False, edgecolor=colour, linewidth=thickness, zorder=3))


def numbers(axes, left, top, values, caption="", scale=9.0, width=1, form="%.0f"):
    """Draw a grid of cells, coloured by their values, above its caption.

    Args:
        values: [rows, columns]; a cell of NaN is empty.
        scale: the number that has half of the deepest colour, upon which it can be read.
        width: of a cell; its height is 1.
    """
    rows, columns = values.shape
    size = max(SMALL, 250 / axes.get_xlim()[1])
    x, y = left + width * np.arange(columns + 1), top + np.arange(rows + 1)
    axes.pcolormesh(x, y, np.nan_to_num(values), cmap=signed_colours(), vmin=-2 * scale,
                    vmax=2 * scale, edgecolor=LINE, linewidth=0.5)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            write(axes, x[column] + width / 2, y[row] + 0.5, decimal(value, form),
                  va="center_baseline", color=INK if value else GREY, fontsize=size)
    frame(axes, left, top, columns * width, rows, INK, 1.2)
    write(axes, left + columns * width / 2, top + rows + 0.6, caption, color=GREY)


def thumbnail(axes, left, top, letter, side):
    """Draw a letter [9, 9] of 1 and -1 as ink on paper, `side` the width of a cell."""
    edges = side * np.arange(10)
    axes.pcolormesh(left + edges, top + edges, -letter, cmap="gray", vmin=-1.3, vmax=1,
                    edgecolor="#e4e6e8", linewidth=0.4)
    frame(axes, left, top, 9 * side, 9 * side, INK, 1.2)


def draw_sum(axes, left, top, window, pattern, colour, say):
    """Draw the arithmetic of one cell of a feature map, 15.6 cells wide."""
    products = window * pattern
    numbers(axes, left, top, window, say("window"), ONES)
    frame(axes, left, top, 3, 3, colour)
    write(axes, left + 3.6, top + 1.5, "×", fontsize=LARGE)
    numbers(axes, left + 4.2, top, pattern, say("filter"), ONES)
    write(axes, left + 7.8, top + 1.5, "=", fontsize=LARGE)
    numbers(axes, left + 8.4, top, products, say("products"), ONES)
    arrow(axes, (left + 11.8, top + 1.5), (left + 14.2, top + 1.5))
    write(axes, left + 12.9, top + 0.9, say("sum"), color=GREY)
    numbers(axes, left + 14.5, top + 1, products.sum().reshape(1, 1))
    frame(axes, left + 14.5, top + 1, 1, 1, colour)


def draw_convolution(letter, pattern, path):
    """Draw two windows of an X [9, 9] times the filter [3, 3] of an arm: one like it, one not."""
    figure, axes = canvas(27, 11.6)
    numbers(axes, 0.5, 1.3, letter, "image : encre 1, papier −1", ONES)
    for top, column, colour, verdict in (
            (1.5, 1, ORANGE, "même motif : la plus grande somme, 9"),
            (7.1, 5, BLUE, "peu ressemblant : une petite somme")):
        frame(axes, 0.5 + column, 1.3 + 1, 3, 3, colour)
        write(axes, 11, top - 0.7, verdict, color=colour, **TITLE)
        draw_sum(axes, 11, top, letter[1:4, column:column + 3], pattern, colour, FRENCH.get)
    save_figure(figure, path)


def draw_sliding(picture, pattern, feature_maps, path, language):
    """Draw an animation of a filter [3, 3] that slides over a picture, with its two feature maps.

    The first map is that of stride 1, the second that of stride 2.
    """
    moments = [(stride, values, count) for stride, values in enumerate(feature_maps, 1)
               for count in range(1, values.size + 1)]
    # A map that is complete stays for a while.
    times = [2500 if count == values.size else 450 for _, values, count in moments]
    save_gif((_slide(picture, pattern, *moment, translated(language, FRENCH))
              for moment in moments), times, path)


def _slide(picture, pattern, stride, values, count, say):
    """Return one moment: the first `count` cells of the feature map `values` are known."""
    figure, axes = canvas(18, 14.6)
    known = np.where(np.arange(values.size).reshape(values.shape) < count, values, np.nan)
    row, column = divmod(count - 1, values.shape[1])
    x, y = column * stride, row * stride
    write(axes, 1, 0.8, say(("stride 1: the window moves by one cell",
                             "stride 2: the window moves by two cells")[stride - 1]), **TITLE)
    numbers(axes, 1, 1.8, picture, scale=ONES)
    frame(axes, 1 + x, 1.8 + y, 3, 3, ORANGE, 4)
    arrow(axes, (8.4, 5.3), (10.4, 5.3))
    left, top = 11, 5.3 - len(values) / 2
    numbers(axes, left, top, known, say("feature map"))
    frame(axes, left + column, top + row, 1, 1, ORANGE, 4)
    draw_sum(axes, 1, 10.1, picture[y:y + 3, x:x + 3], pattern, ORANGE, say)
    return figure


def draw_feature_maps(letters, filters, maps, path):
    """Draw an X and an O [2, 9, 9], and the maps [2, 7, 7, 3] that three filters make of them."""
    figure, axes = canvas(32, 23.5)
    write(axes, 0.6, 3.4, "trois filtres", ha="left", fontsize=MEDIUM)
    for left, pattern, name in zip((8.2, 16.2, 24.2), filters, ("un bras", "centre", "autre bras")):
        write(axes, left + 3.5, 1, name, fontsize=MEDIUM)
        numbers(axes, left + 2, 1.9, pattern, scale=ONES)
    for top, letter, results in zip((6, 15), letters, maps):
        thumbnail(axes, 0.6, top + 0.8, letter, 0.6)
        arrow(axes, (6.3, top + 3.5), (7.9, top + 3.5))
        for left, values in zip((8.2, 16.2, 24.2), np.moveaxis(results, -1, 0)):
            numbers(axes, left, top, values)
            write(axes, left + 3.5, top + 7.7, "maximum : %s" % decimal(values.max()),
                  weight="bold", color=ORANGE if values.max() == 9 else GREY)
    save_figure(figure, path)


def draw_pooling(values, rectified, pooled, path):
    """Draw a feature map [7, 7], after ReLU [7, 7], and after max-pooling [4, 4]."""
    figure, axes = canvas(25, 9.9)
    for left, top, title, meaning, cells in (
            (0.5, 1.6, "carte de caractéristiques", "", values),
            (9.8, 1.6, "ReLU", "le négatif devient 0", rectified),
            (19.3, 3.1, "max-pooling", "maximum de chaque 2×2", pooled)):
        write(axes, left, 0.8, title, **TITLE)
        numbers(axes, left, top, cells, meaning)
    for x in (7.7, 17.1):
        arrow(axes, (x, 5.1), (x + 1.8, 5.1))
    for place, colour in ((0, ORANGE), (1, BLUE)):
        frame(axes, 9.8 + 2 * place, 1.6 + 2 * place, 2, 2, colour)
        frame(axes, 19.3 + place, 3.1 + place, 1, 1, colour)
    save_figure(figure, path)


def draw_decision(smallest, layer, scores, path):
    """Draw the way from a letter's pooled maps [2, 2, 3] to two scores, all products and sums.

    `layer` holds the weights [12, 2] and the biases [2] of the scores for X and for O.
    """
    figure, axes = canvas(17, 18.2)
    for index, name in enumerate(("bras ↘", "centre", "bras ↗")):
        write(axes, 1.4, 2 + 5 * index, name, fontsize=LARGE)
        numbers(axes, 0.4, 2.6 + 5 * index, smallest[..., index])
    arrow(axes, (2.8, 8.6), (4.3, 8.6))
    values = smallest.reshape(-1, 1)
    write(axes, 5.7, 0.9, "aplatir", fontsize=MEDIUM)
    numbers(axes, 4.7, 1.9, values, width=2)
    for left, name, colour, weights, bias, score in zip(
            (7.2, 12.2), "XO", (ORANGE, BLUE), layer[0].T[..., np.newaxis], layer[1], scores):
        write(axes, left + 1, 0.9, "× poids\npour " + name, color=colour, fontsize=MEDIUM)
        numbers(axes, left, 1.9, weights, "", 2.0, 2, "%+.1f")
        write(axes, left + 3.4, 0.9, "produit", color=colour, fontsize=MEDIUM)
        numbers(axes, left + 2.4, 1.9, values * weights, "", 2.0, 2, "%+.1f")
        for y, label, value, weight in ((14.7, "somme", score - bias, "normal"),
                                        (15.9, "+ biais", bias, "normal"),
                                        (17.1, "= score", score, "bold")):
            style = dict(color=colour, fontsize=LARGE, weight=weight)
            write(axes, left + 2.2, y, label, ha="right", **style)
            write(axes, left + 3.4, y, decimal(value, "%+.1f"), **style)
    save_figure(figure, path)


def draw_probabilities(letters, names, probabilities, path):
    """Draw letters [N, 9, 9] and their probabilities [N, 2] of being an X and an O."""
    figure = new_figure(7.5)
    grid = figure.subplots(3, 4, gridspec_kw={"hspace": 0.1}).reshape(-1, 2)
    for (picture, axes), letter, name, shares in zip(grid, letters, names, probabilities):
        picture.set(xlim=(-0.1, 9.1), ylim=(9.1, -0.1), aspect="equal")
        picture.set_axis_off()
        picture.set_title(name, loc="left", weight="bold", fontsize=LARGE)
        thumbnail(picture, 0, 0, letter, 1)
        bars = axes.barh(["X", "O"], shares, 0.5, color=[ORANGE, BLUE])
        axes.bar_label(bars, ["%.0f %%" % (100 * share) for share in shares], padding=5,
                       fontsize=LARGE)
        axes.set(xlim=(0, 1.6), ylim=(1.8, -0.8), xticks=[])
        axes.tick_params(length=0, labelsize=LARGE)
        axes.spines[:].set_visible(False)
    save_figure(figure, path)
