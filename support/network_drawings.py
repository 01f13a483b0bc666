"""Pictures of a trained network: the filters that it learnt, and one picture's way through it.

Letters are 27 pixels high in 1,200, so that they are 9 on a telephone's 400.
"""
import numpy as np

from figures.common import ORANGE, new_figure, save_figure, signed_colours

LETTERS = 17.5  # points
GRID = 4  # rows and columns of the feature maps that are shown of a layer


def tiles(arrays, columns, gap=1):
    """Lay 2-D arrays of one size out in rows, each scaled to [-1,1], with gaps of NaN."""
    height, width = arrays[0].shape
    rows = -(-len(arrays) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for number, values in enumerate(arrays):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top:top + height, left:left + width] = values / max(np.abs(values).max(), 1e-9)
    return sheet


def draw_learnt_filters(by_hand, before, after, path):
    """Draw filters made by hand, and those of a layer before and after training, into a PNG.

    Args:
        by_hand: a list of float [3,3].
        before, after: lists of float [K,K], as many.
    """
    figure = new_figure(5.4, 10.9)
    columns = int(np.ceil(np.sqrt(len(before))))
    for left, width, title, arrays, across in (
            (0.01, 0.13, "By hand", by_hand, 1), (0.17, 0.4, "Before training", before, columns),
            (0.59, 0.4, "After training", after, columns)):
        axes = figure.add_axes([left, 0.01, width, 0.87])
        axes.imshow(tiles(arrays, across), cmap=signed_colours(), vmin=-1, vmax=1, interpolation="nearest")
        axes.set_anchor("N")
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=LETTERS)
    save_figure(figure, path)


def draw_way(layers, names, path):
    """Draw one picture's way through a network into a PNG, from left to right, in two rows.

    Args:
        layers: (what it is, the shape in words, values) of each: float [H,W] or [H,W,C] for
            pictures and maps, float [C] for a vector; the last is the probabilities of `names`.
    """
    across = -(-len(layers) // 2)
    figure = new_figure(6.6, 10.9)
    for number, (kind, shape, values) in enumerate(layers):
        row, column = divmod(number, across)
        axes = figure.add_axes([(column + 0.03) / across, 0.505 * (1 - row) + 0.01,
                                0.94 / across, 0.375])
        axes.set_title("%s\n%s" % (kind, shape), loc="left", fontsize=LETTERS)
        if number + 1 == len(layers):
            draw_answer(axes, values, names)
            continue
        if values.ndim == 3:
            strongest = np.argsort(-values.std(axis=(0, 1)), kind="stable")[:GRID ** 2]
            sheet = tiles([values[..., channel] for channel in strongest], GRID)
        elif values.ndim == 1:
            side = int(np.ceil(np.sqrt(len(values))))
            sheet = np.full(side ** 2, np.nan)
            sheet[:len(values)] = values / np.abs(values).max()
            sheet = sheet.reshape(side, side)
        else:
            sheet = values / 255.0
        axes.imshow(sheet, cmap="gray_r" if values.ndim == 2 else signed_colours(),
                    vmin=0 if values.ndim == 2 else -1, vmax=1, interpolation="nearest")
        axes.set_anchor("NW")
        axes.set_axis_off()
    save_figure(figure, path)


def draw_answer(axes, probabilities, names):
    """Draw the probabilities as bars behind the names, the largest in orange."""
    places = np.arange(len(names))[::-1]
    colours = [ORANGE if p == probabilities.max() else "lightgray" for p in probabilities]
    axes.barh(places, probabilities, height=0.85, color=colours)
    for place, name, probability in zip(places, names, probabilities):
        axes.text(0.02, place, name if probability < probabilities.max() else
                  "%s %.0f %%" % (name, 100 * probability), va="center_baseline", fontsize=LETTERS)
    axes.set(xlim=(0, 1), ylim=(-0.5, len(names) - 0.5))
    axes.set_axis_off()
