"""What all pictures share: colours, files written whole, training curves, the confusion matrix.

matplotlib is imported when the first figure is made: its import takes time. A figure is 8.3 inches
wide and shown 830 pixels wide, so 9 points are letters of 12.5 pixels.
"""
import collections
import contextlib
import functools
import io
import logging
import os
import uuid
import zlib

import numpy as np
from PIL import Image

from support.console import UserError, postponed_interrupts, printable, reason

WIDTH = 8.3  # inches
SMALL, MEDIUM, LARGE = 9, 11, 13  # points

# Orange and blue are told apart by the colour-blind.
INK, GREY, LINE, PAPER = "#1c2028", "#606874", "#969ca6", "#f7f7f7"
ORANGE, BLUE = "#d95f02", "#2166ac"


# ---- Files ----
def write_whole(path, write):
    """Write a file by `write(stream)`, completely or not at all.

    It is made in memory, then written beside `path` and moved there in one step, so that neither
    a full disk nor Ctrl-C leaves half a picture or a temporary file. A link stays a link.

    Raises:
        UserError: it cannot be written; a file that was there is untouched.
    """
    target = os.path.realpath(path)
    unfinished = os.path.join(os.path.dirname(target), ".unfinished-%s" % uuid.uuid4().hex)
    try:
        content = io.BytesIO()
        write(content)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with postponed_interrupts():
            try:
                with open(unfinished, "xb") as stream:
                    stream.write(content.getvalue())
                os.replace(unfinished, target)
            finally:
                with contextlib.suppress(OSError):  # usually it is not there any more
                    os.remove(unfinished)
    except OSError as error:
        raise UserError("%s cannot be written: %s." % (path, reason(error))) from error


def save_png(picture, path):
    """Write a Pillow image into the PNG `path`, as write_whole does, the same bytes everywhere.

    Z_RLE looks for runs only, which leaves a compressor no choice: zlib and zlib-ng, which newer
    Pillows carry, agree to the byte. It is also twice as fast, and on filtered pictures no larger.
    """
    write_whole(path, lambda stream: picture.save(stream, format="PNG", compress_type=zlib.Z_RLE))
    print("Wrote %s" % printable(path))


# ---- matplotlib ----
@functools.lru_cache(maxsize=None)
def matplotlib():
    """Return the module, with its own defaults whatever a `matplotlibrc` contains.

    Raises:
        UserError: it finds no folder that it may write to.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns about its cache's folder
    os.environ["MPLBACKEND"] = "agg"  # draws into files, and needs no display
    try:
        import matplotlib
        import matplotlib.figure  # noqa: F401, what new_figure() needs
    except OSError as error:  # it wants a folder for its cache
        raise UserError("matplotlib cannot be started: %s." % reason(error)) from error
    matplotlib.rcdefaults()
    matplotlib.rcParams.update({"font.size": SMALL, "axes.titlesize": MEDIUM, "text.color": INK,
                                "figure.constrained_layout.use": True})
    return matplotlib


def new_figure(height, width=WIDTH, **options):
    """Return an empty matplotlib figure, sizes in inches, that needs no display."""
    return matplotlib().figure.Figure(figsize=(width, height), **options)


def save_figure(figure, path):
    """Write a matplotlib figure into the PNG `path`, as write_whole does."""
    write_whole(path, lambda stream: figure.savefig(stream, format="png", dpi=150,
                                                    metadata={"Software": None}))


def save_gif(figures, times, path):
    """Write matplotlib figures of one size as an endless animation, as write_whole does.

    Each frame, shown for its number of milliseconds, is drawn before the next is asked for.
    """
    frames, colours = [], collections.Counter()
    for figure in figures:
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100)
        frames.append(Image.open(stream).convert("RGB"))
        colours.update({colour: count for count, colour in frames[-1].getcolors(1 << 24)})
    # One palette for all frames, so that Pillow finds what does not change between two.
    palette = Image.new("P", (1, 1))
    palette.putpalette(sum((colour for colour, _ in colours.most_common(64)), ()))
    frames = [frame.quantize(palette=palette, dither=Image.NONE) for frame in frames]
    write_whole(path, lambda stream: frames[0].save(
        stream, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0))


def signed_colours():
    """Return the colour map of numbers from -1 to 1: blue below zero, orange above."""
    return matplotlib().colors.LinearSegmentedColormap.from_list("signed", [BLUE, PAPER, ORANGE])


# ---- In axes ----
def show(axes, values, interpolation="nearest", **style):
    """Show an image in a thin frame, its pixels as squares; `style` as for `imshow`."""
    image = axes.imshow(values, interpolation=interpolation, **style)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(LINE)
    return image


def show_signed(axes, values):
    """Show numbers [H,W] around zero in `signed_colours`, the largest as deep as it can be."""
    limit = np.nanmax(np.abs(values))
    return show(axes, values, cmap=signed_colours(), vmin=-limit, vmax=limit)


def arrow(axes, start, end, transform=None):
    """Draw an arrow between two points (x, y), in the axes' own units or those of `transform`."""
    transform = transform or axes.transData
    axes.annotate("", end, start, transform, transform, dict(
        arrowstyle="-|>", color=INK, linewidth=1.5, shrinkA=0, shrinkB=0))


def heading(axes, title, detail=""):
    """Write a title above axes, on the left, and below it a detail in grey."""
    axes.text(0, 1.03, detail, transform=axes.transAxes, color=GREY)
    axes.set_title(title, loc="left", weight="bold", pad=18 if detail else 6)


def draw_bars(axes, names, probabilities):
    """Draw probabilities as bars behind their classes' names, the largest in orange."""
    best = probabilities == max(probabilities)
    axes.barh(range(len(names)), probabilities, 0.9, color=np.where(best, "#f4a582", "#d8dce0"))
    for place, (name, probability) in enumerate(zip(names, probabilities)):
        axes.text(0.01, place, "%s %.0f %%" % (name, 100 * probability)
                  if probability >= 0.005 else name, va="center_baseline")
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    axes.set_axis_off()


def decimal(value, form="%.0f"):
    """Return a number in French, with a decimal comma and a true minus sign, zero as a plain 0."""
    return (form % value).replace("-", "−").replace(".", ",") if abs(value) > 0.005 else "0"


def translated(language, french):
    """Return a function of a picture's English words; in "fr" it returns those of the dict."""
    return french.__getitem__ if language == "fr" else str


# ---- Pictures that more than one exercise draws ----
def draw_curves(history, path, accuracies, stages=(), marked=None):
    """Draw loss and accuracies by epoch into the PNG `path`.

    Args:
        history: a list of dicts, one per epoch, with "loss" and the keys of `accuracies`.
        accuracies: (key, label) of each curve of accuracy, values in [0,1].
        stages: (label, begin, end) of parts of the training, in epochs, divided by dotted lines.
        marked: (what happens, epoch): the epochs after this one are shaded and explained.
    """
    epochs = range(1, len(history) + 1)
    figure = new_figure(3.7)
    left, right = figure.subplots(1, 2)
    style = dict(marker="o", markersize=3, linewidth=1.5)
    left.plot(epochs, [line["loss"] for line in history], color=BLUE, **style)
    left.set(title="Training loss (labels smoothed)", xlabel="epoch", ylabel="cross-entropy")
    for (key, label), colour in zip(accuracies, (BLUE, ORANGE)):
        if key in history[-1]:
            right.plot(epochs, [100 * line[key] for line in history], color=colour, label=label,
                       **style)
    right.set(title="Accuracy", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.margins(y=0.14)  # the names of the stages are above the curves
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        for label, begin, end in stages:
            axes.text((begin + end) / 2, 1.0, label, ha="center", va="top", color=GREY,
                      transform=axes.get_xaxis_transform())
            if end < len(history):
                axes.axvline(end, color=GREY, linestyle=":", linewidth=1)
    if marked and marked[1] < len(history):
        label, last = marked
        for axes in (left, right):
            axes.axvspan(last + 0.5, len(history), color=BLUE, alpha=0.1, linewidth=0)
        left.annotate(label, (last + 1, history[last]["loss"]), (0.97, 0.86), va="top", ha="right",
                      textcoords="axes fraction", arrowprops=dict(arrowstyle="->", color=INK),
                      bbox=dict(facecolor="white", alpha=0.8, edgecolor="none"))
    right.legend(loc="lower right")
    save_figure(figure, path)


CONFUSION_FRENCH = {
    "prediction": "prédiction", "true class": "vraie classe",
    "%s images of each class, in %% (%s %% right)":
        "Images de %s de chaque classe, en %% (%s %% justes)"}


def draw_confusion(counts, names, path, data="test", language="en"):
    """Draw the confusion matrix int [C,C] of the `data`, a row a true class, into a PNG."""
    say = translated(language, CONFUSION_FRENCH)
    number = decimal if language == "fr" else lambda value, form: form % value
    shares, right = 100 * counts / counts.sum(axis=1, keepdims=True).clip(1), np.eye(len(names))
    mistakes = np.where(right, 0, shares)
    figure = new_figure(6.6)
    axes = figure.subplots()
    # Mistakes alone set the colours: beside a diagonal near 100 % they would all look white.
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max()), aspect="auto")
    axes.imshow(np.where(right, 0.1, np.nan), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for place, share in np.ndenumerate(shares):
        dark = mistakes[place] > 0.6 * mistakes.max()
        axes.text(place[1], place[0], number(share, "%.1f") if share else "·", ha="center",
                  va="center", color="white" if dark else BLUE if right[place] else INK,
                  weight="bold" if right[place] else "normal", fontsize=MEDIUM)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=MEDIUM)
    axes.set_xlabel(say("prediction"), fontsize=MEDIUM)
    axes.set_ylabel(say("true class"), fontsize=MEDIUM)
    axes.set_title(say("%s images of each class, in %% (%s %% right)") % (
        data if language == "fr" else data.capitalize(),
        number(100 * counts.trace() / max(1, counts.sum()), "%.2f")), fontsize=LARGE)
    save_figure(figure, path)
