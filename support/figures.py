"""Pictures with matplotlib: training curves, a confusion matrix, and saving any figure whole.

matplotlib is imported when the first figure is made: its import takes time.
"""
import functools
import io
import logging
import os
import signal
import tempfile
import zlib

import numpy as np

from support.console import MissingPackage, UserError, reason, sudden_interruption
from support.palette import BLUE, ORANGE, PAPER


@functools.lru_cache(maxsize=None)
def matplotlib():
    """Return the module, with its own defaults whatever a `matplotlibrc` says.

    Raises:
        UserError: it is not installed, or finds no folder that it may write to.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of its cache's folder
    os.environ["MPLBACKEND"] = "agg"  # draws into files, and needs no display
    try:
        with sudden_interruption():
            import matplotlib
            import matplotlib.figure  # noqa: F401, what new_figure() needs
    except ModuleNotFoundError as error:
        raise MissingPackage(error)
    except OSError as error:  # it wants a folder for its cache
        raise UserError("matplotlib cannot be started: %s." % reason(error)) from error
    matplotlib.rcdefaults()
    return matplotlib


def new_figure(width, height, **options):
    """Return an empty matplotlib figure, `width` by `height` inches, that needs no display."""
    return matplotlib().figure.Figure(figsize=(width, height), **options)


def signed_colours():
    """Return the colour map of numbers from -1 to 1: blue below zero, orange above."""
    return matplotlib().colors.LinearSegmentedColormap.from_list("signed", [BLUE, PAPER, ORANGE])


def draw_curves(history, path, accuracies, stages=(), shaded=None):
    """Draw loss and accuracies by epoch into the PNG `path`.

    Args:
        history: a list of dicts, an epoch each, with "loss" and the keys of `accuracies`.
        accuracies: (key, label) of each curve of accuracy, values in [0,1].
        stages: (label, where it begins, where it ends), in epochs, marked by dotted lines.
        shaded: (label, where it begins): the epochs from there on are shaded.
    """
    epochs = range(1, len(history) + 1)
    figure = new_figure(10, 4, constrained_layout=True)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [line["loss"] for line in history], "o-", color=BLUE)
    left.set(title="Training loss (labels smoothed)", xlabel="epoch", ylabel="cross-entropy")
    for (key, label), colour in zip(accuracies, (BLUE, ORANGE)):
        if key in history[-1]:
            right.plot(epochs, [100 * line[key] for line in history], "o-", label=label,
                       color=colour)
    right.set(title="Accuracy", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.margins(y=0.12)  # the first line of text is above the curves
        axes.spines["top"].set_visible(False)
        axes.spines["right"].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        for label, begin, end in stages:
            axes.text((begin + end) / 2, 1.0, label, ha="center", va="top", color="gray",
                      transform=axes.get_xaxis_transform())
            if end < len(history):
                axes.axvline(end, color="gray", linestyle=":", linewidth=1)
        if shaded and shaded[1] < len(history):
            axes.axvspan(shaded[1], len(history), color=BLUE, alpha=0.1, linewidth=0,
                         label=shaded[0])
            left.legend(loc="lower left")
    right.legend(loc="lower right")
    save_figure(figure, path)


def draw_confusion(counts, names, path):
    """Draw the confusion matrix int [C,C], a row a true class, into the PNG `path`."""
    shares = 100 * counts / counts.sum(axis=1, keepdims=True).clip(1)
    mistakes = np.where(np.eye(len(names), dtype=bool), 0, shares)
    figure = new_figure(8, 7.2, constrained_layout=True)
    axes = figure.subplots()
    # Mistakes alone set the colours: beside a diagonal near 100 % they would all look white.
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max()))
    for (row, column), share in np.ndenumerate(shares):
        right = row == column
        if right:
            axes.add_patch(matplotlib().patches.Rectangle((column - 0.5, row - 0.5), 1, 1,
                                                          color="#e4eef7"))
        dark = not right and share > 0.6 * mistakes.max()
        axes.text(column, row, "%.1f" % share if share else "·", ha="center", va="center",
                  color="white" if dark else BLUE if right else "#333333",
                  weight="bold" if right else "normal", fontsize=10)
    axes.set_xticks(range(len(names)))
    axes.set_xticklabels(names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names)
    axes.tick_params(length=0)
    axes.set(xlabel="answer", ylabel="true class",
             title="Test images of each class, in %% (%.2f %% right)"
             % (100 * counts.trace() / max(1, counts.sum())))
    save_figure(figure, path)


def save_figure(figure, path):
    """Write a matplotlib figure into the PNG `path`, as `save_whole` does."""
    save_whole(path, lambda stream: figure.savefig(stream, format="png", dpi=110,
                                                   metadata={"Software": None}))


def save_whole(path, write):
    """Write a file by `write(stream)`, whole or not at all.

    It is made in memory and written beside `path` first, so that neither a full disk nor Ctrl-C
    leaves half a picture or an unfinished file.

    Raises:
        UserError: it cannot be written; one that was there is untouched.
    """
    target = os.path.realpath(path)  # a link stays a link
    folder = os.path.dirname(target)
    try:
        content = io.BytesIO()
        write(content)
        os.makedirs(folder, exist_ok=True)
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            _replace(target, folder, content.getvalue())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
    except OSError as error:
        raise UserError("%s cannot be written: %s." % (path, reason(error))) from error


def _replace(target, folder, content):
    descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=".unfinished-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(unfinished, 0o666 & ~mask)
        os.replace(unfinished, target)
    except BaseException:
        os.remove(unfinished)
        raise


def save_png(picture, path):
    """Write a Pillow image into the PNG `path`, whole or not at all, the same bytes everywhere.

    Z_RLE looks for runs only, which leaves a compressor no choice: zlib 1.2.13 and zlib-ng 2.3.3,
    which newer Pillows carry, agree to the byte; by default they do not. It is also twice as
    fast, and no larger on filtered pictures, where little but a run ever repeats.

    Raises:
        UserError: it cannot be written; one that was there is untouched.
    """
    save_whole(path, lambda stream: picture.save(stream, format="PNG", compress_type=zlib.Z_RLE))
    print("Wrote %s" % path)
