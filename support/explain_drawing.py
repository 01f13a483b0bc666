"""The picture of `./predict --explain`: a photograph, what decided, and the probabilities."""
import numpy as np

from figures.common import ORANGE, new_figure, save_figure


def draw_explanation(picture, heat, probabilities, names, path):
    """Draw a picture, the map of its best class and the best classes into the PNG `path`.

    Args:
        picture: a Pillow image in RGB.
        heat: float [H,W] in [0,1], how much each pixel speaks for the best class.
        probabilities: float [C], the answer that is explained.
        names: of the C classes.
    Raises:
        UserError: the file cannot be written; one that was there is untouched.
    """
    best = np.argsort(-probabilities)[:5]
    width = min(9, max(2.5, 4 * picture.width / picture.height))  # inches, the pictures are 4 high
    figure = new_figure(4.5, 2 * width + 3.6, constrained_layout=True)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"width_ratios": [width, width, 3]})
    left.imshow(picture)
    left.set_title("L'image\n")
    middle.imshow(picture.convert("L"), cmap="gray", vmin=0, vmax=255)
    middle.imshow(heat, cmap="inferno", alpha=0.15 + 0.6 * heat, vmin=0, vmax=1)
    middle.set_title("Ce qui parle pour « %s »\n(Grad-CAM)" % names[best[0]])
    for axes in (left, middle):
        axes.set_axis_off()
    _draw_bars(right, [names[number] for number in best], probabilities[best])
    save_figure(figure, path)


def _draw_bars(axes, names, probabilities):
    """Draw the probabilities of the classes `names`, the most probable on top."""
    places = np.arange(len(names))[::-1]
    axes.barh(places, 100 * probabilities, height=0.6,
              color=[ORANGE] + ["tab:gray"] * (len(names) - 1))
    for place, probability in zip(places, probabilities):
        percentage = ("%.1f %%" % (100 * probability)).replace(".", ",")
        axes.text(100 * probability + 3, place, percentage, va="center")
    axes.set(title="Prédiction: %s" % names[0], xlim=(0, 145), xticks=[], yticks=places,
             yticklabels=names)
    for edge in ("top", "right", "bottom"):
        axes.spines[edge].set_visible(False)
