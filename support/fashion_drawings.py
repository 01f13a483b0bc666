"""Exercise 2's pictures: answers to garments, and what the convolutions make of one of them."""
import os
import sys

import numpy as np

from figures.common import (BLUE, ORANGE, draw_confusion, draw_curves, new_figure, save_figure,
                            signed_colours)
from support.reports import confusion_matrix

COLUMNS = 10


def draw_all(folder, history, images, labels, probabilities, names, chosen, maps):
    """Draw the four pictures of exercise 2 into the folder.

    Args:
        history: as `draw_curves` takes it, the test accuracy under "held_out".
        images, labels, probabilities, names: as for `draw_predictions`.
        chosen, maps: which image has the feature maps, float [1,H,W,F] a layer.
    """
    def picture(name):
        return os.path.join(folder, "ex02_%s.png" % name)

    draw_curves(history, picture("training"), [
        ("accuracy", "training (augmented, dropout)"), ("held_out", "test, one view")])
    counts = confusion_matrix(labels, probabilities.argmax(axis=1))
    draw_confusion(counts, names, picture("confusion"))
    draw_predictions(images, labels, probabilities, names, picture("predictions"))
    draw_feature_maps(images[chosen], names[labels[chosen]], [layer[0] for layer in maps],
                      picture("feature_maps"))
    print("drew %s" % picture("*"), file=sys.stderr)


def draw_predictions(images, labels, probabilities, names, path):
    """Draw the first 50 pictures, then the 30 mistakes made with the most confidence.

    Args:
        images, labels: uint8 [N,28,28] and [N], the true classes.
        probabilities: float [N,C], the answers.
        names: of the C classes.
    """
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    mistakes = np.flatnonzero(answers != labels)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")][:3 * COLUMNS]
    blocks = [("The first test pictures under their predicted names; mistakes are framed in orange",
               np.arange(min(5 * COLUMNS, len(images)))),
              ("The most confident mistakes" if len(mistakes) else "No mistakes", mistakes)]
    heights = []  # of the grid's rows: a low one for each title, then the pictures
    for _, chosen in blocks:
        heights += [0.22] + [1] * -(-len(chosen) // COLUMNS)
    height = 1.6 * sum(heights)  # inches
    figure = new_figure(height, 1.3 * COLUMNS)
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights, hspace=0.32,
                               wspace=0.15, left=0.02, right=0.98, bottom=0.3 / height,
                               top=1 - 0.05 / height)
    row = 0
    for title, chosen in blocks:
        axes = figure.add_subplot(grid[row, :])
        axes.axis("off")
        axes.text(0, 0.5, title, fontsize=14, weight="bold", transform=axes.transAxes)
        for place, index in enumerate(chosen):
            axes = figure.add_subplot(grid[row + 1 + place // COLUMNS, place % COLUMNS])
            _draw_answer(axes, images[index], names[labels[index]], names[answers[index]],
                         confidence[index])
        row += 1 + -(-len(chosen) // COLUMNS)
    save_figure(figure, path)


def _draw_answer(axes, image, name, answer, confidence):
    """Draw a picture under its answer; a mistake is framed in orange, its true name below it."""
    right = name == answer
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set_title("%s %.0f %%" % (answer, 100 * confidence), fontsize=7.3, pad=3,
                   color=BLUE if right else ORANGE, weight="normal" if right else "bold")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("" if right else "true: " + name, fontsize=8, labelpad=2)
    for spine in axes.spines.values():
        spine.set(color="lightgray" if right else ORANGE, linewidth=0.8 if right else 2.5)


def draw_feature_maps(image, name, maps, path, columns=12, rows=2):
    """Draw one picture uint8 [H,W] and the strongest of its feature maps, float [H,W,F] a layer."""
    figure = new_figure(7, 13)
    parts = figure.add_gridspec(1, 2, width_ratios=[1, 5.2], wspace=0.03, left=0.01, right=0.99,
                                bottom=0.01, top=0.95)
    axes = figure.add_subplot(parts[0])
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set_title(name, weight="bold")
    axes.axis("off")
    layers = parts[1].subgridspec(len(maps), 1, hspace=0.16)
    for layer, (part, values) in enumerate(zip(layers, maps), start=1):
        grid = part.subgridspec(rows, columns, hspace=0.06, wspace=0.06)
        strongest = np.argsort(-values.std(axis=(0, 1)), kind="stable")[:rows * columns]
        for place, channel in enumerate(strongest):
            axes = figure.add_subplot(grid[place // columns, place % columns])
            limit = np.abs(values[:, :, channel]).max()
            axes.imshow(values[:, :, channel], cmap=signed_colours(), vmin=-limit, vmax=limit)
            axes.axis("off")
            if not place:
                axes.set_title("convolution %d: the %d strongest of %d maps, %d x %d  "
                               "(orange +, blue −)" % ((layer, len(strongest), values.shape[2])
                                                    + values.shape[:2]), loc="left", fontsize=11)
    save_figure(figure, path)
