"""The pictures of exercise 2: its training, its predictions, and what its network has learnt."""
import os
import sys

import numpy as np

from figures.common import (BLUE, LARGE, MEDIUM, ORANGE, WIDTH, arrow, decimal, draw_bars,
                            draw_confusion, draw_curves, heading, matplotlib, new_figure,
                            save_figure, show, show_signed, translated)
from support.console import printable
from support.reports import confusion_matrix

COLUMNS = 6  # of pictures with predictions
GRID = 4     # rows and columns of the feature maps that are shown of a layer
SIDE = dict(rotation="horizontal", ha="right", va="center", fontsize=MEDIUM)  # of labels of rows
FRENCH = {
    "Image": "Image", "Convolution": "Convolution", "Max-pooling": "Max-pooling",
    "Normalise, ReLU": "Normaliser, ReLU", "Flatten, dense": "Aplatir, dense",
    "Output, softmax": "Sortie, softmax", "%d of %d": "%d sur %d",
    "negative": "négatif", "each map": "chaque carte", "positive": "positif",
    "The first %s pictures and their predictions":
        "Les premières images de %s et leurs prédictions",
    "The most confident mistakes": "Les erreurs dont le réseau est le plus sûr",
    "No mistakes": "Aucune erreur", "true: ": "juste : "}


def draw_all(folder, history, images, labels, probabilities, names, data):
    """Draw the training, the confusion matrix and some predictions into the folder.

    The accuracy on `images` is "held_out" in the history; the rest is as in `draw_predictions`.
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
    """Draw the first images uint8 [N,28,28], then the mistakes with the highest probability.

    The true classes are `labels` [N], the predictions `probabilities` float [N,C] of the C `names`;
    `data` is what the images are, "test" or "validation".
    """
    say = translated(language, FRENCH)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    mistakes = np.flatnonzero(predicted != labels)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")]
    blocks = [(say("The first %s pictures and their predictions") % data,
               range(min(3 * COLUMNS, len(images)))),
              (say("The most confident mistakes" if len(mistakes) else "No mistakes"),
               mistakes[:2 * COLUMNS])]
    rows = [-(-len(chosen) // COLUMNS) for _, chosen in blocks]
    heights = [0.4 + 1.35 * count for count in rows]
    figure = new_figure(sum(heights), constrained_layout=False)  # which is slow for many axes
    panels = figure.subfigures(2, 1, height_ratios=heights)
    for panel, (title, chosen), count, height in zip(panels, blocks, rows, heights):
        panel.suptitle(title, x=0.02, y=1 - 0.1 / height, ha="left", weight="bold", fontsize=LARGE)
        grid = panel.add_gridspec(max(1, count), COLUMNS, left=0.01, right=0.99, hspace=0.5,
                                  top=1 - 0.4 / height, bottom=0.4 / height)
        for place, index in zip(grid, chosen):
            caption = "%s %.0f %%" % (names[predicted[index]], 100 * confidence[index])
            axes = panel.add_subplot(place)
            show(axes, images[index], cmap="gray_r", vmin=0, vmax=255)
            if predicted[index] == labels[index]:
                axes.set_xlabel(caption, color=BLUE)
            else:
                axes.set_xlabel("%s\n%s%s" % (caption, say("true: "), names[labels[index]]),
                                color=ORANGE)
                axes.spines[:].set_color(ORANGE)
                axes.spines[:].set_linewidth(3)
    save_figure(figure, path)


# ---- What the network has learnt ----
def tiles(maps):
    """Lay maps [H,W,16] out in rows of 4, each scaled to [-1,1], with gaps of NaN between them."""
    scaled = maps / np.abs(maps).max(axis=(0, 1)).clip(1e-9)
    framed = np.pad(scaled, ((0, 1), (0, 1), (0, 0)), "constant", constant_values=np.nan)
    height, width = framed.shape[:2]
    sheet = framed.reshape(height, width, GRID, GRID).transpose(2, 0, 3, 1)
    return sheet.reshape(GRID * height, GRID * width)[:-1, :-1]


def draw_architecture(layers, names, path, language="en"):
    """Draw one picture's way through all layers; the same channels up to the next convolution.

    In French, for the course, it is narrow enough to be read on a telephone.

    Args:
        layers: (kind, detail, values) of each: an image uint8 [H,W], then maps float [H,W,F], then
            vectors float [C]; the last is the probabilities of `names`.
    """
    say, columns = translated(language, FRENCH), 3 if language == "fr" else 4
    rows = -(-len(layers) // columns)
    figure = new_figure(1.93 * rows + 0.5, 5.7 if language == "fr" else WIDTH)
    grid = figure.subplots(rows, columns, gridspec_kw={"hspace": 0.1}).ravel()
    for axes in grid[len(layers):]:
        axes.set_axis_off()
    for number, (axes, (kind, detail, values)) in enumerate(zip(grid, layers)):
        shape = "×".join(map(str, values.shape))
        if number == 0:
            show(axes, values, cmap="gray_r", vmin=0, vmax=255)
        elif number + 1 == len(layers):
            draw_bars(axes, names, values)
            axes.set_box_aspect(1)
        elif values.ndim == 3:
            if kind == "Convolution":
                channels = np.argsort(-values.std(axis=(0, 1)), kind="stable")[:GRID ** 2]
            shape += ", " + say("%d of %d") % (len(channels), values.shape[2])
            key = show_signed(axes, tiles(values[..., channels]))
        else:
            shape = "%d → %d" % (layers[number - 1][2].size, len(values))
            show_signed(axes, values.reshape(int(len(values) ** 0.5), -1))
        heading(axes, say(kind) + detail, shape)
        if number:
            arrow(axes, (-0.25, 0.5), (-0.03, 0.5), axes.transAxes)
    key = figure.colorbar(key, ax=grid.tolist(), location="bottom", shrink=0.4, aspect=20,
                          ticks=[-1, 0, 1])
    key.set_ticklabels([say("negative"), say("each map"), say("positive")])
    save_figure(figure, path)


def draw_learning(steps, filters, losses, path):
    """Draw filters [M,K,K,3] after M numbers of steps, the last the end of a training, and below
    them the losses of all its steps."""
    figure = new_figure(6.5)
    grid = figure.add_gridspec(5, len(steps), height_ratios=(1, 1, 1, 0.5, 2))
    loss = figure.add_subplot(grid[4, :])
    every = max(1, steps[-1] // 120)
    means = [np.mean(losses[start:start + every]) for start in range(0, len(losses), every)]
    loss.plot((np.arange(len(means)) + 0.5) * every, means, color=ORANGE, linewidth=2)
    ends = min(means), max(means)
    loss.set(xlim=(0, steps[-1]), xticks=steps)
    loss.set_yticks(ends, [decimal(end, "%.1f") for end in ends])
    loss.set_xlabel("pas d'apprentissage", fontsize=MEDIUM)
    loss.set_ylabel("perte", **SIDE)
    loss.grid(axis="x", color=BLUE, linestyle=":")
    for row, name in enumerate(("un filtre", "un autre", "un troisième")):
        for column, step in enumerate(steps):
            axes = figure.add_subplot(grid[row, column])
            show_signed(axes, filters[column, ..., row])
            if column == 0:
                axes.set_ylabel(name, **SIDE)
            if row == 2:
                figure.add_artist(matplotlib().patches.ConnectionPatch(
                    (0.5, 0), (step, 1), axes.transAxes, loss.get_xaxis_transform(), color=BLUE,
                    linestyle=":", shrinkA=3))
    save_figure(figure, path)


def draw_learnt_filters(kinds, before, after, path):
    """Draw filters [K,K,F] of the first layer before and after training; `kinds` are F words."""
    figure = new_figure(2.7)
    grid = figure.subplots(2, len(kinds))
    for row, filters, moment in zip(grid, (before, after), ("before", "after")):
        row[0].set_ylabel(moment + "\ntraining", **SIDE)
        for number, axes in enumerate(row):
            show_signed(axes, filters[..., number])
    for axes, kind in zip(grid[0], kinds):
        axes.set_title(kind)
    save_figure(figure, path)
