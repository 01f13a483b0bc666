"""What a classifier's answers on labelled pictures add up to, in numbers and in lines of text."""
import json

import numpy as np


def confusion_matrix(labels, answers, classes=10):
    """Count each pair: int [C,C], a row a true class, a column an answer.

    Args:
        labels: int [N], the true classes.
        answers: int [N].
    """
    pairs = classes * np.asarray(labels, int) + answers
    return np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)


def accuracy(counts):
    """Return the share of right answers, in [0,1], of a confusion matrix."""
    return np.trace(counts) / max(1, counts.sum())


def class_table(counts, names):
    """Return the lines of a table by class: recall, precision, and the class it is taken for."""
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


def read_history(path, names):
    """Return the "history" of a training in a JSON file: a list of dicts, `names` to floats.

    Raises:
        ValueError: the file holds anything else.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            lines = json.load(stream)["history"]
        history = [{name: float(line[name]) for name in names} for line in lines]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        history = []
    if not history:
        raise ValueError("it comes without the history of a training")
    return history
