"""What a classifier's predictions on labelled images add up to, in numbers and in lines of text."""
import json

import numpy as np


def confusion_matrix(labels, predictions, classes=10):
    """Count each pair: int [C,C], a row per true class, a column per predicted class.

    Args:
        labels, predictions: int [N].
    """
    pairs = classes * np.asarray(labels, int) + predictions
    return np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)


def accuracy(counts):
    """Return the fraction of correct predictions in a confusion matrix."""
    return np.trace(counts) / max(1, counts.sum())


def class_table(counts, names):
    """Return the lines of a table: recall, precision and most frequent mistake of each class."""
    width = max(map(len, names))
    lines = ["%-*s %7s %8s %9s  %s" % (width, "class", "images", "found", "precision",
                                       "most often taken for")]
    for place, name in enumerate(names):
        right, mistakes = counts[place, place], counts[place].copy()
        mistakes[place] = 0
        rival = "%s (%d)" % (names[mistakes.argmax()], mistakes.max()) if mistakes.any() else "-"
        lines.append("%-*s %7d %6.1f %% %7.1f %%  %s" % (
            width, name, counts[place].sum(), 100 * right / max(1, counts[place].sum()),
            100 * right / max(1, counts[:, place].sum()), rival))
    return lines


def class_report(labels, predictions, names, title):
    """Return that table and, below it, the accuracy on the images that `title` names."""
    counts = confusion_matrix(labels, predictions, len(names))
    lines = [""] + class_table(counts, names) + [""]
    return "\n".join(lines + ["%s accuracy: %.2f %% (%d of %d are wrong)" % (
        title.capitalize(), 100 * accuracy(counts), counts.sum() - counts.trace(), counts.sum())])


def read_notes(path, names):
    """Return what a training noted in a JSON file: "settings", a dict, and "history", a list.

    Raises:
        ValueError: they are another training's, whose epochs have no numbers for `names`.
    """
    with open(path, encoding="utf-8") as stream:
        notes = json.load(stream)
    if not all(set(names) <= set(epoch) for epoch in notes["history"]):
        raise ValueError("its notes are not those of such a training")
    return notes
