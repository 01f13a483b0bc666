"""The pictures of exercise 2: its training, its predictions, and what its network has learnt."""
import os
import sys

import numpy as np

from figures.common import (BLUE, GREY, LARGE, LINE, MEDIUM, ORANGE, WIDTH, arrow, canvas, decimal,
                            draw_bars, draw_confusion, draw_curves, frame, save_figure,
                            signed_colours, translated)
from support.console import printable
from support.reports import confusion_matrix

COLUMNS = 6  # of the pictures with predictions
GRID = 4     # rows and columns of the feature maps that are shown of a layer
FRENCH = {
    "Image": "Image", "Convolution": "Convolution", "Max-pooling": "Max-pooling",
    "Normalise, ReLU": "Normaliser, ReLU", "Flatten, dense": "Aplatir, dense",
    "Output, softmax": "Sortie, softmax", "%d of %d": "%d sur %d",
    "each map: negative": "chaque carte : négatif", "positive": "positif",
    "The first %s pictures and their predictions": "Les premières images de %s et leurs prédictions",
    "The most confident mistakes": "Les erreurs dont le réseau est le plus sûr",
    "No mistakes": "Aucune erreur", "true: ": "juste : "}


def draw_all(folder, history, images, labels, probabilities, names, data):
    """Draw the training, the confusion matrix and some predictions into the folder.

    Args:
        history: as `draw_curves` takes it, the accuracy on `images` under "held_out".
        images, labels, probabilities, names, data: as for `draw_predictions`.
    """
    draw_curves(history, os.path.join(folder, "ex02_training.png"), [
        ("accuracy", "training (augmented)"), ("held_out", data + ", one view")])
    counts = confusion_matrix(labels, probabilities.argmax(axis=1))
    for language, confusion, predictions in (
            ("en", "ex02_confusion.png", "ex02_predictions.png"),
            ("fr", "fr_ex02_confusion.png", "fr_ex02_predictions.png")):
        draw_confusion(counts, names, os.path.join(folder, confusion), data, language)
        draw_predictions(images, labels, probabilities, names, data,
                         os.path.join(folder, predictions), language)
    print("Drew %s" % printable(os.path.join(folder, "ex02_*.png")), file=sys.stderr)


def draw_predictions(images, labels, probabilities, names, data, path, language="en"):
    """Draw the first pictures, then the mistakes made with the highest probability.

    Args:
        images, labels: uint8 [N,28,28] and [N], the true classes.
        probabilities: float [N,C].
        names: of the C classes.
        data: what the pictures are, "test" or "validation".
    """
    say = translated(language, FRENCH)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    mistakes = np.flatnonzero(predicted != labels)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")][:2 * COLUMNS]
    blocks = [(say("The first %s pictures and their predictions") % data,
               np.arange(min(3 * COLUMNS, len(images))), 0.87),
              (say("The most confident mistakes" if len(mistakes) else "No mistakes"), mistakes,
               0.96)]
    heights = [0.22 + -(-len(chosen) // COLUMNS) * row for _, chosen, row in blocks]
    figure, axes = canvas(6, sum(heights) + 0.05)
    top = 0.05
    for (title, chosen, row), height in zip(blocks, heights):
        axes.text(0.08, top + 0.08, title, fontsize=LARGE, weight="bold", va="center")
        for place, index in enumerate(chosen):
            _draw_prediction(axes, place % COLUMNS + 0.08, top + 0.2 + row * (place // COLUMNS),
                             images[index], names[predicted[index]], confidence[index],
                             names[labels[index]], say("true: "))
        top += height
    save_figure(figure, path)


def _draw_prediction(axes, left, top, image, predicted, confidence, name, true):
    """Draw a picture, below it its prediction, and `true` and the true class if that is another."""
    right = predicted == name
    colour, side = BLUE if right else ORANGE, 0.65
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, aspect="auto",
                extent=(left + 0.1, left + 0.1 + side, top + side, top))
    axes.set(xlim=(0, 6), ylim=axes.get_ylim())
    frame(axes, left + 0.1, top, side, side, "#d0d4d8" if right else ORANGE, 1 if right else 3)
    axes.text(left + 0.1 + side / 2, top + side + 0.08,
              "%s %.0f %%" % (predicted, 100 * confidence), ha="center", va="center", color=colour,
              weight="normal" if right else "bold")
    if not right:
        axes.text(left + 0.1 + side / 2, top + side + 0.19, true + name, ha="center",
                  va="center")


# ---- What the network has learnt ----
def tiles(maps, gap=1):
    """Lay maps [H,W,16] out in rows of 4, each scaled to [-1,1], with gaps of NaN between them."""
    height, width, count = maps.shape
    sheet = np.full((GRID * (height + gap) - gap, GRID * (width + gap) - gap), np.nan)
    for number in range(count):
        top, left = number // GRID * (height + gap), number % GRID * (width + gap)
        values = maps[..., number]
        sheet[top:top + height, left:left + width] = values / max(np.abs(values).max(), 1e-9)
    return sheet


def draw_architecture(layers, names, path, language="en"):
    """Draw one picture's way through all layers; the same channels up to the next convolution.

    In French, for the course, it is narrow enough to be read on a telephone.

    Args:
        layers: (kind, detail, values) of each: an image uint8 [H,W], then maps float [H,W,F], then
            vectors float [C]; the last is the probabilities of `names`.
    """
    say, side, row = translated(language, FRENCH), 0.72, 1.02
    columns = 3 if language == "fr" else 4
    rows = -(-len(layers) // columns)
    figure, axes = canvas(columns, row * rows + 0.17, 1.9 * columns if language == "fr" else WIDTH)
    for number, (kind, detail, values) in enumerate(layers):
        left, top = number % columns + 0.2, row * (number // columns) + 0.24
        style = dict(cmap=signed_colours(), vmin=-1, vmax=1)
        shape = "×".join(map(str, values.shape))
        if number + 1 == len(layers):
            draw_bars(axes, left, top, side, side, names, values)
        elif values.ndim == 3:
            if kind == "Convolution":
                channels = np.argsort(-values.std(axis=(0, 1)), kind="stable")[:GRID ** 2]
            shape += ", " + say("%d of %d") % (len(channels), values.shape[2])
            values = tiles(values[..., channels])
        elif values.ndim == 1:
            shape = "%d → %d" % (layers[number - 1][2].size, len(values))
            values = (values / np.abs(values).max()).reshape(int(len(values) ** 0.5), -1)
        else:
            style = dict(cmap="gray_r", vmin=0, vmax=255)
        if values.ndim == 2:
            axes.imshow(values, extent=(left, left + side, top + side, top), aspect="auto",
                        interpolation="nearest", **style)
            frame(axes, left, top, side, side, LINE, 0.8)
        axes.text(left, top - 0.15, say(kind) + detail, fontsize=MEDIUM, weight="bold", va="center")
        axes.text(left, top - 0.05, shape, color=GREY, va="center")
        if number:
            arrow(axes, (left - 0.2, top + side / 2), (left - 0.03, top + side / 2))
        if number % columns == columns - 1 and number + 1 < len(layers):
            arrow(axes, (left + side + 0.01, top + side / 2), (left + side + 0.08, top + side / 2))
    axes.set(xlim=(0, columns), ylim=(row * rows + 0.17, 0))
    _draw_key(axes, 0.2, row * rows + 0.07, say)
    save_figure(figure, path)


def _draw_key(axes, left, y, say):
    """Draw what the colours of the maps mean."""
    limits = axes.get_xlim()
    axes.text(left + 0.9, y, say("each map: negative"), va="center", ha="right")
    axes.imshow(np.linspace(-1, 1, 64)[None], cmap=signed_colours(), aspect="auto",
                extent=(left + 0.95, left + 1.75, y + 0.035, y - 0.035))
    axes.text(left + 1.8, y, say("positive"), va="center")
    axes.set(xlim=limits, ylim=axes.get_ylim())


def draw_learning(steps, filters, losses, path):
    """Draw filters at several moments of a training, and below them its loss.

    Args:
        steps: of the moments, the last is the end of the training.
        filters: [3, moments, K, K].
        losses: of every step.
    """
    figure, axes = canvas(8.3, 6.5)
    left, width, top, height = 1.5, 6.6, 4.1, 1.7  # of the curve
    every = max(1, steps[-1] // 120)
    means = [np.mean(losses[start:start + every]) for start in range(0, len(losses), every)]
    low, high = min(means), max(means)
    x = left + width * (np.arange(len(means)) + 0.5) * every / steps[-1]
    axes.plot(x, top + height * (high - np.array(means)) / (high - low), color=ORANGE, linewidth=2)
    frame(axes, left, top - 0.1, width, height + 0.2, LINE, 0.8)
    axes.text(left - 0.2, top + height / 2, "perte", fontsize=MEDIUM, ha="right", va="center")
    for value in (low, high):
        axes.text(left - 0.1, top + height * (high - value) / (high - low),
                  decimal(value, "%.1f"), ha="right", va="center", color=GREY)
    axes.text(left + width, 6.3, "pas d'apprentissage", fontsize=MEDIUM, ha="right", va="center")
    for row, name in enumerate(("un filtre", "un autre", "un troisième")):
        axes.text(left - 0.2, 0.5 + 1.1 * row, name, fontsize=MEDIUM, ha="right", va="center")
    for column, step in enumerate(steps):
        centre, place = left + 0.5 + 1.12 * column, left + width * step / steps[-1]
        for row, values in enumerate(filters[:, column]):
            limit = np.abs(values).max()
            y = 0.05 + 1.1 * row
            axes.imshow(values, cmap=signed_colours(), vmin=-limit, vmax=limit, aspect="auto",
                        extent=(centre - 0.5, centre + 0.5, y + 1, y), interpolation="nearest")
            frame(axes, centre - 0.5, y, 1, 1, LINE, 0.8)
        axes.plot([centre, place, place], [3.3, top - 0.1, top + height + 0.1], color=BLUE,
                  linewidth=1, linestyle=":")
        axes.text(place, 6.05, step, ha="center", va="center", color=BLUE)
    axes.set(xlim=(0, 8.3), ylim=(6.5, 0))
    save_figure(figure, path)


def draw_learnt_filters(kinds, before, after, path):
    """Draw filters of the first layer before and after training.

    Args:
        kinds: what each has become, a word.
        before, after: lists of float [K,K], as many.
    """
    figure, axes = canvas(len(kinds) + 0.85, 2.4)
    for row, (label, filters) in enumerate((("before\ntraining", before),
                                            ("after\ntraining", after))):
        axes.text(0.1, 0.75 + 1.1 * row, label, fontsize=MEDIUM, weight="bold", va="center")
        for column, values in enumerate(filters):
            left, top = 0.9 + column, 0.3 + 1.1 * row
            limit = np.abs(values).max()
            axes.imshow(values, cmap=signed_colours(), vmin=-limit, vmax=limit, aspect="auto",
                        extent=(left, left + 0.86, top + 0.86, top), interpolation="nearest")
            frame(axes, left, top, 0.86, 0.86, LINE, 0.8)
    for column, kind in enumerate(kinds):
        axes.text(1.33 + column, 0.15, kind, fontsize=MEDIUM, ha="center", va="center")
    axes.set(xlim=(0, len(kinds) + 0.85), ylim=(2.4, 0))
    save_figure(figure, path)
