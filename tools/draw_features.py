"""Draw the parts of training images that excite filters of exercise 3 most.

    python tools/draw_features.py      images/ex03_features.png, in French fr_niveaux.png, and
                                       ex03_explain.png, as ./predict --explain draws it

From layer to layer a filter sees more of the image and responds to more of what is in it.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib")

import numpy as np
from PIL import Image

from ex03_cifar import RELEASE, dataset
from ex03_cifar.classifier import Classifier
from ex03_cifar.explain import DRAWN_SIDE, grad_cam
from ex03_cifar.views import picture_views
from support import console
from support.arguments import add_output_dir, file_path
from support.tf1 import tf

IMAGES = 5000  # training images that are searched
BATCH = 250
DOUBTFUL = 544  # number of a test image: a boat on a trailer
UNITS, PARTS = 3, 4  # rows and columns for each convolution
DRAWN = (1, 1), (1, 3), (2, 1), (2, 3), (3, 1), (3, 3)  # block and convolution


def convolutions(classifier):
    """Return {(block, convolution): (the tensor of its sums, their receptive field)}.

    The field is (size, step, start), alike for rows and columns: the sum number i depends on `size`
    pixels from start + i * step on; start is negative where zero padding is added.
    """
    found, size, step, start = {}, 2, 1, 0  # after the whitening
    for operation in classifier.session.graph.get_operations():
        place = re.match(r"network/block(\d+)/conv(\d+)", operation.name)
        if place and operation.type == "Conv2D":
            size, start = size + 2 * step, start - step
            found[tuple(map(int, place.groups()))] = operation.outputs[0], (size, step, start)
        elif operation.type == "MaxPool" and operation.name.startswith("network/block"):
            size, step = size + step, 2 * step
    return found


def largest_sums(classifier, tensors, images):
    """Return for each tensor and unit, of all places in an image, the largest: float32 [N,F]."""
    with classifier.session.graph.as_default():
        maxima = [tf.reduce_max(tensor, axis=[1, 2]) for tensor in tensors]
    with console.progress(len(images), "image") as bar:
        parts = []
        for start in range(0, len(images), BATCH):
            feed = {classifier.images: images[start:start + BATCH]}
            parts.append(classifier.session.run(maxima, feed))
            bar.update(BATCH)
    return [np.concatenate(part) for part in zip(*parts)]


def choose_units(sums):
    """Return UNITS units whose strongest images stand out most, and are not those of another."""
    top = np.sort(sums, axis=0)[-PARTS:].mean(axis=0)
    chosen, taken = [], set()
    for unit in np.argsort(-(top - sums.mean(axis=0)) / sums.std(axis=0), kind="mergesort"):
        images = set(np.argsort(-sums[:, unit], kind="mergesort")[:PARTS].tolist())
        if len(images & taken) <= PARTS // 4 and len(chosen) < UNITS:
            chosen.append(unit)
            taken |= images
    return chosen


def part(image, place, field):
    """Return what a unit sees of an image: uint8 [S,S,3], white where that is beyond the border."""
    size, step, start = field
    if size >= len(image):
        return image
    padded = np.pad(image, ((size, size), (size, size), (0, 0)), "constant", constant_values=255)
    top, left = [size + start + step * int(index) for index in place]
    return padded[top:top + size, left:left + size]


def exciting_parts(classifier, tensor, field, sums, images):
    """Return the parts that excite the chosen units most, a list of lists of uint8 [S,S,3]."""
    rows = []
    for unit in choose_units(sums):
        best = np.argsort(-sums[:, unit], kind="mergesort")[:PARTS]
        maps = classifier.session.run(tensor, {classifier.images: images[best]})[..., unit]
        places = [np.unravel_index(one.argmax(), one.shape) for one in maps]
        rows.append([part(images[number], place, field) for number, place in zip(best, places)])
    return rows


def main():
    parser = console.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=file_path, default=RELEASE,
                        help="Folder of the weights that are drawn (default: checkpoints/cifar10).")
    add_output_dir(parser)
    given = parser.parse_args()
    console.writable_folder(given.output_dir)
    from figures.ex03 import draw_explanation, draw_features
    classifier = Classifier(given.checkpoint_dir, exact=True)
    images = dataset.load_train(count=IMAGES)[0]
    sums = convolutions(classifier)
    chosen = [place + sums[place] for place in DRAWN if place in sums]
    largest = largest_sums(classifier, [tensor for _, _, tensor, _ in chosen], images)
    drawn = [(block, number, field[0], exciting_parts(classifier, tensor, field, maxima, images))
             for maxima, (block, number, tensor, field) in zip(largest, chosen)]
    for language, name in (("en", "ex03_features.png"), ("fr", "fr_niveaux.png")):
        draw_features(drawn, os.path.join(given.output_dir, name), language)
    image = Image.fromarray(dataset.load_test()[0][DOUBTFUL])
    probabilities = classifier.predict([picture_views(image)])[0]
    picture = image.resize((DRAWN_SIDE, DRAWN_SIDE), Image.BICUBIC)
    shown = np.argsort(-probabilities)[:2]
    maps = list(zip(shown, grad_cam(classifier, picture, shown)))
    draw_explanation(picture, maps, probabilities, dataset.CLASSES,
                     os.path.join(given.output_dir, "ex03_explain.png"))
    console.say("Drew ex03_features.png, fr_niveaux.png and ex03_explain.png in %s"
                % given.output_dir)


if __name__ == "__main__":
    console.run(main)
