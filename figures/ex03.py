"""The pictures of exercise 3: its training, what excites its filters, what speaks for a class."""
import numpy as np

from figures.common import (GREY, LINE, MEDIUM, ORANGE, SMALL, canvas, draw_bars, draw_curves,
                            frame, matplotlib, new_figure, save_figure, translated)

PANELS = 3  # layers side by side in the picture of the filters
SIDE = 32   # pixels of an image
FRENCH = {
    "Block %d, convolution %d": "Bloc %d, convolution %d",
    "sees %d×%d pixels of 32×32": "voit %d×%d pixels sur 32×32",
    "sees the whole image": "voit l'image entière",
    "Each row is one filter; each column, a training image that excites it most: the part it "
    "sees.\nWhite lies beyond the border of the image.":
        "Chaque ligne est un filtre ; chaque colonne, une image d'entraînement qui l'active le plus "
        ":\nle morceau qu'il en voit. Le blanc est hors de l'image."}


def draw_training(history, path, stages, epoch_ends, all_images):
    """Draw the training curves into the PNG `path`.

    Args:
        history: a list of dicts, one per epoch, of "loss", "accuracy", and "validation" if known.
        stages: of each size of the images, `side` in pixels, `begin` and `end` as fractions of the
            run's steps.
        epoch_ends: the step after the last one of each epoch.
        all_images: how many epochs, from the first, train on all images.
    """
    ends = (0,) + epoch_ends

    def epochs(fraction):
        return float(np.interp(fraction * ends[-1], ends, range(len(ends))))
    stages = [("%d×%d" % (stage.side, stage.side), epochs(stage.begin), epochs(stage.end))
              for stage in stages]
    draw_curves(history, path, [("accuracy", "training (augmented)"),
                                ("validation", "validation (whole images)")], stages,
                ("After epoch %d only the images with\nthe largest loss are trained on:\nthe loss "
                 "jumps up, accuracy drops." % all_images, all_images))


def draw_features(layers, path, language="en"):
    """Draw the parts of images that excite filters most, layer by layer, into the PNG `path`.

    Args:
        layers: (block, convolution, how many pixels a filter sees along each axis, rows of uint8
            [S,S,3], a filter each), all with as many rows and columns.
    """
    say = translated(language, FRENCH)
    rows, columns = len(layers[0][3]), len(layers[0][3][0])
    width, height = columns + 0.5, rows + 1.15
    high = -(-len(layers) // PANELS)
    figure, axes = canvas(PANELS * width + 0.2, high * height + 0.85)
    limits = dict(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    axes.text(0.35, 0.45, say("Each row is one filter; each column, a training image that excites "
                              "it most: the part it sees.\nWhite lies beyond the border of the "
                              "image."), fontsize=MEDIUM, va="center")
    for number, (block, convolution, seen, parts) in enumerate(layers):
        left, top = number % PANELS * width + 0.35, number // PANELS * height + 1
        frame(axes, left, top + 0.15, 0.64, 0.64, LINE)
        inner = 0.64 * min(1, seen / SIDE)
        margin = (0.64 - inner) / 2
        axes.add_patch(matplotlib().patches.Rectangle(
            (left + margin, top + 0.15 + margin), inner, inner, color=ORANGE))
        axes.text(left + 0.8, top + 0.28, say("Block %d, convolution %d") % (block, convolution),
                  fontsize=MEDIUM, weight="bold", va="center")
        axes.text(left + 0.8, top + 0.65, say("sees the whole image") if seen >= SIDE else
                  say("sees %d×%d pixels of 32×32") % (seen, seen), color=GREY, va="center")
        for row, unit in enumerate(parts):
            for column, part in enumerate(unit):
                x, y = left + column, top + 0.95 + row
                axes.imshow(part, extent=(x, x + 0.94, y + 0.94, y), aspect="auto",
                            interpolation="nearest")
                frame(axes, x, y, 0.94, 0.94, LINE, 0.6)
    axes.set(**limits)
    save_figure(figure, path)


def draw_mistakes(pictures, captions, path, columns=7):
    """Draw photographs in rows, each under two lines of text, into the PNG `path`.

    Args:
        pictures: Pillow images in RGB.
        captions: (predicted class, true class) of each, in words.
    """
    rows = max(1, -(-len(pictures) // columns))
    figure = new_figure(1.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.35 / (1.6 * rows), wspace=0.06, hspace=0.4)
    for axes in grid:
        axes.set_axis_off()
    for axes, picture, (predicted, true) in zip(grid, pictures, captions):
        axes.imshow(picture)
        axes.set_title("%s\n%s" % (predicted, true), fontsize=SMALL)
    save_figure(figure, path)


def draw_explanation(picture, maps, probabilities, names, path):
    """Draw a picture, what speaks for its likeliest classes, and their probabilities, in French.

    Args:
        picture: a Pillow image in RGB.
        maps: (class number, float [H,W] in [0,1]: how much each pixel speaks for the class) of
            the classes to explain.
        probabilities: float [C], the prediction that is explained.
        names: of the C classes.
    Raises:
        UserError: the file cannot be written; one that was there is untouched.
    """
    panels = len(maps) + 2
    scale = 0.94 / max(picture.width, picture.height / 1.3)
    wide, high = scale * picture.width, scale * picture.height
    title, height = 0.055 * panels, max(0.14 * panels, high)
    figure, axes = canvas(panels, title + height + 0.01 * panels)
    limits = dict(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    gray = picture.convert("L")
    for number, (words, heat) in enumerate([("L'image", None)] + [
            ("Pour « %s »" % names[number], heat) for number, heat in maps]):
        left = number + 0.03
        box = dict(extent=(left, left + wide, title + high, title), aspect="auto")
        axes.text(left, title / 2, words, fontsize=MEDIUM, weight="bold", va="center")
        if heat is None:
            axes.imshow(picture, **box)
        else:
            axes.imshow(gray, cmap="gray", vmin=0, vmax=255, **box)
            axes.imshow(heat, cmap="inferno", alpha=0.15 + 0.6 * heat, vmin=0, vmax=1, **box)
    best = np.argsort(-probabilities, kind="stable")[:5]
    axes.text(panels - 0.97, title / 2, "Prédiction", fontsize=MEDIUM, weight="bold", va="center")
    draw_bars(axes, panels - 0.97, title, 0.94, min(height, 0.2 * panels),
              [names[number] for number in best], probabilities[best])
    axes.set(**limits)
    save_figure(figure, path)
