"""Draw the parts of training images that excite filters of exercise 3 most.

    python tools/draw_features.py      images/ex03_features.png, and in French fr_niveaux.png

From layer to layer a filter sees more of the image and responds to more of what is in it.
"""
import os
import re
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ex03_cifar import RELEASE, dataset  # noqa: E402, the path is set above
from ex03_cifar.classifier import Classifier, run_in_parts  # noqa: E402
from support import console  # noqa: E402
from support.arguments import add_output_dir  # noqa: E402
from support.tf1 import tf  # noqa: E402

IMAGES = 5000  # training images that are searched
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


def exciting_parts(classifier, tensor, field, images):
    """Return the parts that excite units of a convolution most, lists of lists of uint8 [S,S,3]."""
    session = classifier.session
    with session.graph.as_default():
        largest = tf.reduce_max(tensor, axis=[1, 2])  # of all places in an image
    sums = run_in_parts(session, largest, classifier.images, images)
    rows = []
    for unit in choose_units(sums):
        best = np.argsort(-sums[:, unit], kind="mergesort")[:PARTS]
        maps = session.run(tensor, {classifier.images: images[best]})[..., unit]
        places = [np.unravel_index(one.argmax(), one.shape) for one in maps]
        rows.append([part(images[number], place, field) for number, place in zip(best, places)])
    return rows


def main():
    parser = console.Parser(description=__doc__.splitlines()[0])
    add_output_dir(parser)
    folder = console.writable_folder(parser.parse_args().output_dir)
    from figures.ex03 import draw_features
    classifier = Classifier(RELEASE, exact=True)
    images = dataset.load_train(count=IMAGES)[0]
    drawn = [(*place, field[0], exciting_parts(classifier, tensor, field, images))
             for place, (tensor, field) in convolutions(classifier).items() if place in DRAWN]
    for language, name in (("en", "ex03_features.png"), ("fr", "fr_niveaux.png")):
        draw_features(drawn, os.path.join(folder, name), language)
    console.say("Drew both pictures in %s" % folder)


if __name__ == "__main__":
    console.run(main)
