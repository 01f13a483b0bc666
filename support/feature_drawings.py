"""The picture of the image parts that excite the units of a network, layer by layer."""
import numpy as np

from figures.common import new_figure, save_figure

COLUMNS = 3  # of layers
GAP = 1.06   # the distance of two parts, in parts
SIDE = 64    # pixels, as which each part is drawn


def draw_exciting_parts(layers, path):
    """Draw image parts in rows, a unit each, under the name of their layer, into the PNG `path`.

    Args:
        layers: (name, how many pixels a unit sees along each axis, rows of uint8 [S,S,3]) of each,
            all with as many rows and columns.
    """
    rows, columns = len(layers[0][2]), len(layers[0][2][0])
    high = -(-len(layers) // COLUMNS)
    figure = new_figure(0.42 * high * (rows + 1.9), 0.42 * COLUMNS * (columns + 1))
    for number, (name, seen, parts) in enumerate(layers):
        axes = figure.add_axes([(number % COLUMNS + 0.03) / COLUMNS,
                                1 - (number // COLUMNS + 0.97) / high, 0.94 / COLUMNS, 0.82 / high])
        sheet = np.full((int(GAP * SIDE * rows), int(GAP * SIDE * columns), 3), 255, np.uint8)
        for row, unit in enumerate(parts):
            for column, part in enumerate(unit):
                top, left = int(GAP * SIDE * row), int(GAP * SIDE * column)
                near = np.arange(SIDE) * len(part) // SIDE
                sheet[top:top + SIDE, left:left + SIDE] = part[near][:, near]
        axes.imshow(sheet, interpolation="nearest")
        axes.set_axis_off()
        # On a telephone's 400 pixels, letters of 9 pixels.
        axes.set_title("%s  sees %d×%d pixels" % (name, seen, seen), loc="left", fontsize=20)
    save_figure(figure, path)
