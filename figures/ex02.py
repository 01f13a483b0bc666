"""The pictures of exercise 2: its training, its predictions, and what its network has learnt."""
import os
import sys

import numpy as np

from figures.common import (BLUE, LARGE, ORANGE, canvas, draw_confusion, draw_curves, frame,
                            save_figure)
from support.reports import confusion_matrix

COLUMNS = 6  # of the pictures with predictions


def draw_all(folder, history, images, labels, probabilities, names):
    """Draw the training, the confusion matrix and some predictions into the folder.

    Args:
        history: as `draw_curves` takes it, the test accuracy under "held_out".
        images, labels, probabilities, names: as for `draw_predictions`.
    """
    draw_curves(history, os.path.join(folder, "ex02_training.png"), [
        ("accuracy", "training (augmented, dropout)"), ("held_out", "test, one view")])
    counts = confusion_matrix(labels, probabilities.argmax(axis=1))
    draw_confusion(counts, names, os.path.join(folder, "ex02_confusion.png"))
    draw_predictions(images, labels, probabilities, names,
                     os.path.join(folder, "ex02_predictions.png"))
    print("Drew %s" % os.path.join(folder, "ex02_*.png"), file=sys.stderr)


def draw_predictions(images, labels, probabilities, names, path):
    """Draw the first test pictures, then the mistakes made with the highest probability.

    Args:
        images, labels: uint8 [N,28,28] and [N], the true classes.
        probabilities: float [N,C].
        names: of the C classes.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    mistakes = np.flatnonzero(predicted != labels)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")][:2 * COLUMNS]
    blocks = [("The first test pictures and their predictions",
               np.arange(min(3 * COLUMNS, len(images))), 0.87),
              ("The most confident mistakes" if len(mistakes) else "No mistakes", mistakes, 0.96)]
    heights = [0.22 + -(-len(chosen) // COLUMNS) * row for _, chosen, row in blocks]
    figure, axes = canvas(6, sum(heights) + 0.05)
    top = 0.05
    for (title, chosen, row), height in zip(blocks, heights):
        axes.text(0.08, top + 0.08, title, fontsize=LARGE, weight="bold", va="center")
        for place, index in enumerate(chosen):
            _draw_prediction(axes, place % COLUMNS + 0.08, top + 0.2 + row * (place // COLUMNS),
                             images[index], names[predicted[index]], confidence[index],
                             names[labels[index]])
        top += height
    save_figure(figure, path)


def _draw_prediction(axes, left, top, image, predicted, confidence, name):
    """Draw a picture, below it its prediction, and the true class if that is another one."""
    right = predicted == name
    colour, side = BLUE if right else ORANGE, 0.65
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, aspect="auto",
                extent=(left + 0.1, left + 0.1 + side, top + side, top))
    axes.set(xlim=(0, 6), ylim=axes.get_ylim())
    frame(axes, left + 0.1, top, side, side, "#d0d4d8" if right else ORANGE, 1 if right else 3)
    axes.text(left + 0.1 + side / 2, top + side + 0.08, "%s %.0f %%" % (predicted, 100 * confidence),
              ha="center", va="center", color=colour, weight="normal" if right else "bold")
    if not right:
        axes.text(left + 0.1 + side / 2, top + side + 0.19, "true: " + name, ha="center",
                  va="center")
