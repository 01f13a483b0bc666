"""The pictures of exercise 3: its training, what excites its filters, what speaks for a class."""
import numpy as np

from figures.common import (GREY, MEDIUM, ORANGE, WIDTH, draw_bars, draw_curves, heading,
                            matplotlib, new_figure, save_figure, show, translated)

PANELS = 3  # layers side by side in the picture of the filters
SIDE = 32   # pixels of an image
FRENCH = {
    "Block %d, convolution %d": "Bloc %d, convolution %d",
    "sees %d×%d pixels of 32×32": "voit %d×%d pixels sur 32×32",
    "sees the whole image": "voit l'image entière",
    "Each row is one filter; each column, a training image that excites it most: the part it "
    "sees.\nWhite lies beyond the border of the image.":
        "Chaque ligne est un filtre ; chaque colonne, une image d'entraînement qui l'active le plus"
        " :\nle morceau qu'il en voit. Le blanc est hors de l'image."}


def draw_training(history, path, plan):
    """Draw the training curves of a run, `plan` its `recipes.Schedule`, into the PNG `path`.

    The history is a list of dicts, one per epoch, of "loss", "accuracy", and "validation" if known.
    """
    ends = (0,) + plan.epoch_ends

    def epochs(fraction):
        return float(np.interp(fraction * ends[-1], ends, range(len(ends))))
    stages = [("%d×%d" % (stage.side, stage.side), epochs(stage.begin), epochs(stage.end))
              for stage in plan.stages]
    draw_curves(history, path, [("accuracy", "training (augmented)"),
                                ("validation", "validation (whole images)")], stages,
                ("After epoch %d only the images with\nthe largest loss are trained on:\nthe loss "
                 "jumps up, accuracy drops." % plan.full_epochs, plan.full_epochs))


def draw_features(layers, path, language="en"):
    """Draw the parts of images that excite filters most, layer by layer, into the PNG `path`.

    Args:
        layers: (block, convolution, how many pixels a filter sees along each axis, rows of uint8
            [S,S,3], a filter each), all with as many rows and columns.
    """
    say = translated(language, FRENCH)
    high = -(-len(layers) // PANELS)
    height = 2.55 * high + 0.6
    figure = new_figure(height, constrained_layout=False)
    figure.text(0.02, 1 - 0.1 / height, say(
        "Each row is one filter; each column, a training image that excites it most: the part it "
        "sees.\nWhite lies beyond the border of the image."), va="top", fontsize=MEDIUM)
    panels = figure.add_gridspec(high, PANELS, left=0.02, right=0.98, bottom=0.01,
                                 top=1 - 0.6 / height, wspace=0.12, hspace=0.08)
    for panel, (block, convolution, seen, parts) in zip(panels, layers):
        grid = panel.subgridspec(len(parts) + 1, len(parts[0]), wspace=0.06, hspace=0.06).subplots()
        field, text = grid[0, :2]
        for axes in grid[0, 1:]:
            axes.set_axis_off()
        places = np.abs(np.arange(SIDE) - (SIDE - 1) / 2) < seen / 2
        show(field, np.outer(places, places), cmap=matplotlib().colors.ListedColormap(
            ["white", ORANGE]), vmin=0, vmax=1)
        text.text(0, 0.55, say("Block %d, convolution %d") % (block, convolution), weight="bold",
                  fontsize=MEDIUM)
        text.text(0, 0.15, say("sees the whole image") if seen >= SIDE else
                  say("sees %d×%d pixels of 32×32") % (seen, seen), color=GREY)
        for row, images in zip(grid[1:], parts):
            for axes, image in zip(row, images):
                show(axes, image)
    save_figure(figure, path)


def draw_explanation(picture, maps, probabilities, names, path):
    """Draw a picture, what speaks for its likeliest classes, and their probabilities, in French.

    Args:
        picture: a Pillow image in RGB.
        maps: (class number, float [H,W] in [0,1]: how much each pixel speaks for the class) of
            the classes to explain.
        probabilities, names: of all C classes.
    """
    shape = np.clip(picture.height / picture.width, 0.5, 1.3)
    figure = new_figure(WIDTH / (len(maps) + 2) * shape + 0.3)
    panels = figure.subplots(1, len(maps) + 2)
    show(panels[0], picture, "antialiased")
    heading(panels[0], "L'image")
    for axes, (number, heat) in zip(panels[1:], maps):
        show(axes, picture.convert("L"), "antialiased", cmap="gray", vmin=0, vmax=255)
        axes.imshow(heat, cmap="inferno", alpha=0.15 + 0.6 * heat, vmin=0, vmax=1)
        heading(axes, "Pour « %s »" % names[number])
    best = np.argsort(-probabilities, kind="stable")[:5]
    draw_bars(panels[-1], [names[number] for number in best], probabilities[best])
    heading(panels[-1], "Prédiction")
    for axes in panels:
        axes.set_anchor("NW")
    save_figure(figure, path)
