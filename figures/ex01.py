"""The pictures of exercise 1: the overview of its results, and convolution step by step."""
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from figures.common import (BLUE, GREY, INK, LARGE, LINE, MEDIUM, ORANGE, SMALL, arrow, canvas,
                            decimal, frame, matplotlib, save_figure, save_gif, save_png, translated)

# Pale enough to read numbers upon (RdBu by ColorBrewer): blue below zero, orange above.
PALE = "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582"
ONES = 3.2  # a scale on which 1 and -1 are pale
PANEL = 600, 450  # pixels, the most that one of the overview's pictures takes


def font(size):
    """Return the Pillow font DejaVu Sans, which comes with matplotlib, of a size in pixels."""
    path = os.path.join(matplotlib().get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def draw_overview(picture, patterns, filters, path):
    """Draw the source, and below it both results, each under its filter, into the PNG `path`.

    By Pillow, whose versions draw the same pixels: the tree stays clean whoever runs exercise 1.

    Args:
        picture: PIL.Image.
        patterns: uint8 [2, rows, columns], the horizontal and the vertical patterns.
        filters: the two filters that found them, [3, 3] each.
    """
    scale = min(PANEL[0] / picture.width, PANEL[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shown = [image.resize(size, Image.LANCZOS if scale < 1 else Image.NEAREST, reducing_gap=3.0)
             for image in [picture] + [Image.fromarray(pattern) for pattern in patterns]]
    gap, title, cell = 15, 44, 66
    overview = Image.new("RGB", (2 * PANEL[0] + 3 * gap, 2 * (size[1] + title) + gap), "white")
    draw = ImageDraw.Draw(overview)
    right, below = PANEL[0] + 2 * gap, title + size[1]
    places = (gap, 0), (gap, below), (right, below)
    names = "source", "(a) horizontal", "(b) vertical"  # the same words in French
    for image, name, (left, top) in zip(shown, names, places):
        draw.text((left, top + title / 2), name, INK, font(26), anchor="lm")
        overview.paste(image, (left, top + title))
    for number, (name, kernel) in enumerate(zip("ab", filters)):
        left = right + 60 + 282 * number
        top = title + (size[1] - 3 * cell) // 2
        draw.text((left + 1.5 * cell, top - 30), "(%s)" % name, INK, font(30), anchor="mm")
        for (row, column), weight in np.ndenumerate(kernel.astype(int)):
            x, y = left + column * cell, top + row * cell
            draw.rectangle([x, y, x + cell, y + cell], PALE[2 + np.sign(weight)], LINE)
            draw.text((x + cell / 2, y + cell / 2), str(weight).replace("-", "−"),
                      INK if weight else GREY, font(32), anchor="mm")
    save_png(overview, path)


# ---- How a network tells an X from an O ----
FRENCH = {  # the words of the animation, which is drawn in both languages
    "window": "fenêtre", "filter": "filtre", "products": "produits", "sum": "somme",
    "stride 1: the window moves by one cell": "pas de 1 : la fenêtre avance d'une case",
    "stride 2: the window moves by two cells": "pas de 2 : la fenêtre avance de deux cases",
    "feature map": "carte de caractéristiques"}


def numbers(axes, left, top, values, full_scale=9.0, side=(1, 1), form="%.0f"):
    """Draw a grid of cells, coloured by their values.

    Args:
        values: [rows, columns]; a cell of NaN is empty.
        full_scale: the number that has the deepest colour.
        side: width and height of a cell.
    """
    rows, columns = values.shape
    size = max(SMALL, 250 / axes.get_xlim()[1])
    colours = matplotlib().colors.LinearSegmentedColormap.from_list("pale", PALE)
    axes.pcolormesh(left + side[0] * np.arange(columns + 1), top + side[1] * np.arange(rows + 1),
                    np.nan_to_num(values), cmap=colours, vmin=-full_scale, vmax=full_scale,
                    edgecolor=LINE, linewidth=0.5)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(left + side[0] * (column + 0.5), top + side[1] * (row + 0.5),
                      decimal(value, form), ha="center", va="center_baseline",
                      color=INK if value else GREY, fontsize=size)
    frame(axes, left, top, columns * side[0], rows * side[1])


def thumbnail(axes, left, top, letter, side):
    """Draw a letter [9, 9] of 1 and -1 as ink on paper, `side` the width of a cell."""
    edges = side * np.arange(10)
    axes.pcolormesh(left + edges, top + edges, -letter, cmap="gray", vmin=-1.3, vmax=1,
                    edgecolor="#e4e6e8", linewidth=0.4)
    frame(axes, left, top, 9 * side, 9 * side)


def draw_sum(axes, left, top, window, pattern, colour, say):
    """Draw the arithmetic of one cell of a feature map, 15.6 cells wide."""
    products = window * pattern
    for place, values, label, sign in ((0, window, "window", "×"), (4.2, pattern, "filter", "="),
                                       (8.4, products, "products", "")):
        numbers(axes, left + place, top, values, ONES)
        axes.text(left + place + 1.5, top + 3.6, say(label), ha="center", va="center", color=GREY)
        axes.text(left + place + 3.6, top + 1.5, sign, ha="center", va="center", fontsize=LARGE)
    frame(axes, left, top, 3, 3, colour, 3)
    arrow(axes, (left + 11.8, top + 1.5), (left + 14.2, top + 1.5))
    axes.text(left + 12.9, top + 0.9, say("sum"), ha="center", va="center", color=GREY)
    numbers(axes, left + 14.5, top + 1, products.sum().reshape(1, 1))
    frame(axes, left + 14.5, top + 1, 1, 1, colour, 3)


def draw_convolution(letter, pattern, path):
    """Draw two windows of a picture times a filter: what is like it, and what is not.

    Args:
        letter: [9, 9] of 1 and -1, an X.
        pattern: [3, 3], the filter of one of its arms.
    """
    figure, axes = canvas(27, 11.6)
    numbers(axes, 0.5, 1.3, letter, ONES)
    axes.text(5, 10.9, "image : encre 1, papier −1", ha="center", va="center", color=GREY)
    for top, (row, column), colour, verdict in (
            (1.5, (1, 1), ORANGE, "même motif : la plus grande somme, 9"),
            (7.1, (1, 5), BLUE, "peu ressemblant : une petite somme")):
        window = letter[row:row + 3, column:column + 3]
        frame(axes, 0.5 + column, 1.3 + row, 3, 3, colour, 3)
        axes.text(11, top - 0.7, verdict, color=colour, fontsize=MEDIUM, weight="bold",
                  va="center")
        draw_sum(axes, 11, top, window, pattern, colour, FRENCH.get)
    save_figure(figure, path)


def draw_sliding(picture, pattern, feature_maps, path, language):
    """Draw an animation of the sliding window.

    Args:
        picture: [7, 7]; pattern: [3, 3].
        feature_maps: with stride 1 [5, 5] and with stride 2 [3, 3].
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
    axes.text(1, 0.8, say(("stride 1: the window moves by one cell",
                           "stride 2: the window moves by two cells")[stride - 1]),
              fontsize=LARGE, weight="bold", va="center")
    numbers(axes, 1, 1.8, picture, ONES)
    frame(axes, 1 + x, 1.8 + y, 3, 3, ORANGE, 4)
    arrow(axes, (8.4, 5.3), (10.4, 5.3))
    left, top = 11, 5.3 - values.shape[0] / 2
    numbers(axes, left, top, known)
    frame(axes, left + column, top + row, 1, 1, ORANGE, 4)
    axes.text(left, top - 0.5, say("feature map"), color=GREY, va="center", fontsize=MEDIUM)
    draw_sum(axes, 1, 10.1, picture[y:y + 3, x:x + 3], pattern, ORANGE, say)
    return figure


def draw_feature_maps(letters, filters, maps, path):
    """Draw an X and an O, and what three filters make of them.

    Args:
        letters: [2, 9, 9]; filters: [3, 3, 3], the first axis the filters; maps: [2, 7, 7, 3].
    """
    figure, axes = canvas(32, 23.5)
    axes.text(0.6, 3.4, "trois filtres", va="center", fontsize=MEDIUM)
    for index, (pattern, name) in enumerate(zip(filters, ("un bras", "centre", "autre bras"))):
        left = 8.2 + 8 * index
        numbers(axes, left + 2, 1.9, pattern, ONES)
        axes.text(left + 3.5, 1, name, ha="center", va="center", fontsize=MEDIUM)
        for letter, top in enumerate((6, 15)):
            values = maps[letter, ..., index]
            numbers(axes, left, top, values)
            axes.text(left + 3.5, top + 7.7, "maximum : %s" % decimal(values.max()),
                      ha="center", va="center", weight="bold",
                      color=ORANGE if values.max() == 9 else GREY)
    for letter, top in enumerate((6, 15)):
        thumbnail(axes, 0.6, top + 0.8, letters[letter], 0.6)
        arrow(axes, (6.3, top + 3.5), (7.9, top + 3.5))
    save_figure(figure, path)


def draw_pooling(values, rectified, pooled, path):
    """Draw a feature map [7, 7], after ReLU [7, 7], and after max-pooling [4, 4]."""
    figure, axes = canvas(25, 9.6)
    for left, top, title, meaning, cells in (
            (0.5, 2.2, "carte de caractéristiques", "", values),
            (9.8, 2.2, "ReLU", "le négatif devient 0", rectified),
            (19.3, 3.7, "max-pooling", "maximum de chaque 2×2", pooled)):
        numbers(axes, left, top, cells)
        axes.text(left, 0.7, title, fontsize=MEDIUM, weight="bold", va="center")
        axes.text(left, 1.5, meaning, color=GREY, va="center")
    for x in (7.7, 17.1):
        arrow(axes, (x, 5.7), (x + 1.8, 5.7))
    for row, column, colour in ((0, 0, ORANGE), (2, 2, BLUE)):
        frame(axes, 9.8 + column, 2.2 + row, 2, 2, colour, 3)
        frame(axes, 19.3 + column // 2, 3.7 + row // 2, 1, 1, colour, 3)
    save_figure(figure, path)


def draw_decision(smallest, layer, scores, path):
    """Draw the way from the pooled maps of a letter to two scores, all products and their sums.

    Args:
        smallest: [2, 2, 3], the pooled maps.
        layer: weights [12, 2] and biases [2] of the scores for X and for O.
        scores: [2].
    """
    weights, biases = layer
    figure, axes = canvas(17, 18.2)
    for index, name in enumerate(("bras ↘", "centre", "bras ↗")):
        axes.text(1.4, 2 + 5 * index, name, ha="center", va="center", fontsize=LARGE)
        numbers(axes, 0.4, 2.6 + 5 * index, smallest[..., index])
    arrow(axes, (2.8, 8.6), (4.3, 8.6))
    values = smallest.reshape(-1, 1)
    for left, name, cells, form, colour in (
            (4.7, "aplatir", values, "%.0f", INK),
            (7.2, "× poids pour X", weights[:, :1], "%+.1f", ORANGE),
            (9.6, "produit", values * weights[:, :1], "%+.1f", ORANGE),
            (12.2, "× poids pour O", weights[:, 1:], "%+.1f", BLUE),
            (14.6, "produit", values * weights[:, 1:], "%+.1f", BLUE)):
        axes.text(left + 1, 0.9, name.replace(" pour", "\npour"), ha="center", va="center",
                  color=colour, fontsize=MEDIUM)
        numbers(axes, left, 1.9, cells, 9.0 if name == "aplatir" else 2.0, (2, 1), form)
    for place, (left, colour) in enumerate(((9.6, ORANGE), (14.6, BLUE))):
        for row, (label, value) in enumerate((
                ("somme", scores[place] - biases[place]), ("+ biais", biases[place]),
                ("= score", scores[place]))):
            weight = "bold" if row == 2 else "normal"
            axes.text(left - 0.2, 14.7 + 1.2 * row, label, ha="right", va="center", color=colour,
                      fontsize=LARGE, weight=weight)
            axes.text(left + 1, 14.7 + 1.2 * row, decimal(value, "%+.1f"), ha="center", va="center",
                      color=colour, fontsize=LARGE, weight=weight)
    save_figure(figure, path)


def draw_probabilities(letters, names, probabilities, path):
    """Draw letters [N, 9, 9] and their probabilities [N, 2] of being an X and an O."""
    figure, axes = canvas(17, 16.2)
    for index, name in enumerate(names):
        left, top = 0.5 + 8.5 * (index % 2), 0.8 + 5.4 * (index // 2)
        axes.text(left, top, name, va="center", weight="bold", fontsize=LARGE)
        thumbnail(axes, left, top + 0.6, letters[index], 0.4)
        for place, colour in enumerate((ORANGE, BLUE)):
            y, width = top + 1.6 + 1.7 * place, 1.6 * probabilities[index, place]
            axes.text(left + 4, y, "XO"[place], va="center", color=colour, weight="bold",
                      fontsize=LARGE)
            axes.barh(y, width, 0.9, left=left + 4.7, color=colour)
            axes.text(left + 4.9 + width, y, "%.0f %%" % (100 * probabilities[index, place]),
                      va="center", fontsize=LARGE)
    save_figure(figure, path)
