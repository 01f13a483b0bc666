"""The pictures of training and evaluation, drawn with matplotlib."""
import argparse
import os
import tempfile

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402, the backend comes first

IMAGES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "images")


def png_path(text):
    """An argparse type: the absolute path of a picture to draw."""
    if not text.endswith(".png"):
        raise argparse.ArgumentTypeError("%r does not end in .png" % text)
    return os.path.abspath(text)


def draw_curves(history, path, stages, harder):
    """Draw loss and accuracy by epoch into the PNG `path`.

    Args:
        history: as `train.train` returns it.
        path: of the PNG.
        stages: (side of the images, where that begins, where it ends), in epochs.
        harder: how many epochs see all images, before those that see the harder ones.
    """
    epochs = range(1, len(history) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    left.plot(epochs, [line["loss"] for line in history], "o-", color="tab:blue")
    left.set(title="Training loss (labels smoothed)", xlabel="epoch", ylabel="cross-entropy")
    for key, label, colour in (("accuracy", "training (augmented)", "tab:blue"),
                               ("validation", "validation (whole images)", "tab:orange")):
        if key in history[-1]:
            right.plot(epochs, [100 * line[key] for line in history], "o-", label=label,
                       color=colour)
    right.set(title="Accuracy", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.margins(y=0.12)  # the first line of text is above the curves
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        for side, begin, end in stages:
            axes.text((begin + end) / 2, 1.0, "%d×%d" % (side, side), ha="center", va="top",
                      color="gray", transform=axes.get_xaxis_transform())
            if end < len(history):
                axes.axvline(end, color="gray", linestyle=":", linewidth=1)
        if harder < len(history):
            axes.axvspan(harder, len(history), color="tab:blue", alpha=0.1, linewidth=0,
                         label="trained on the harder images only")
            left.legend(loc="lower left")
    right.legend(loc="lower right")
    save_figure(figure, path)


def draw_confusion(counts, names, path):
    """Draw the confusion matrix int [C,C], a row a true class, into the PNG `path`."""
    shares = 100 * counts / counts.sum(axis=1, keepdims=True).clip(1)
    mistakes = shares.copy()
    mistakes[range(len(names)), range(len(names))] = 0
    figure, axes = plt.subplots(figsize=(8, 7.2), constrained_layout=True)
    # Mistakes alone set the colours: beside a diagonal near 100 % they would all look white.
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=max(1, mistakes.max()))
    for row in range(len(names)):
        for column in range(len(names)):
            share, right = shares[row, column], row == column
            if right:
                axes.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, color="#e6f2e6"))
            dark = not right and share > 0.6 * mistakes.max()
            axes.text(column, row, "%.1f" % share if share else "·", ha="center", va="center",
                      color="white" if dark else "#1a5c1a" if right else "#333333",
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
    """Write the figure into the PNG `path` and close it.

    It is written beside `path` first, so that a full disk leaves no half picture.

    Raises:
        OSError: the file cannot be written; one that was there is untouched.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(unfinished, 0o666 & ~mask)
            os.replace(unfinished, path)
        except BaseException:
            os.remove(unfinished)
            raise
    finally:
        plt.close(figure)
