"""Measure ./predict on photographs sorted into folders: python tools/measure_photos.py FOLDER

FOLDER holds one folder for each class, with CIFAR-10's English names. Printed are the accuracies,
for the views that ./predict takes and for each photograph squashed to 32x32, how far the
probabilities can be relied on, and what was taken for what.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check()

import argparse
import glob

import numpy as np
from PIL import Image, ImageDraw

from ex03_cifar.calibration import calibration_error
from ex03_cifar.classifier import RELEASE, Classifier
from ex03_cifar.views import picture_views, squashed
from figures.common import write_whole
from support import console
from support.arguments import file_path
from support.picture import read_picture
from support.reports import confusion_matrix

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TILE, LINE, COLUMNS = 120, 12, 8  # pixels, pixels, tiles: of the sheet of mistakes


def find_photos(folder):
    """Return the photographs in the classes' folders: a list of paths and labels int [N]."""
    found = [(path, label) for label, name in enumerate(NAMES)
             for path in sorted(glob.glob(os.path.join(folder, name, "*")))]
    return [path for path, _ in found], np.array([label for _, label in found], int)


def mean_by_class(right, labels):
    """Return (mean over the classes of the share that is right, its standard error).

    The standard error is that of drawing other photographs of the same classes.

    Args:
        right: bool [N].
        labels: int [N]; classes without a photograph are left out.
    """
    classes = [right[labels == label] for label in np.unique(labels)]
    shares = [part.mean() for part in classes]
    variances = [share * (1 - share) / len(part) for share, part in zip(shares, classes)]
    return float(np.mean(shares)), float(np.sqrt(np.sum(variances)) / len(classes))


def report(by_views, by_squashing, labels):
    """Return the text that is printed.

    Args:
        by_views, by_squashing: float [N,10], probabilities.
        labels: int [N].
    """
    right = [probabilities.argmax(axis=1) == labels for probabilities in (by_views, by_squashing)]
    line = "%-12s %6d  %6.1f %%  %6.1f %%"
    lines = ["%-12s %6s  %8s  %8s" % ("class", "photos", "predict", "squashed")]
    lines += [line % ((NAMES[label], np.sum(labels == label))
                      + tuple(100 * answers[labels == label].mean() for answers in right))
              for label in np.unique(labels)]
    means, errors = zip(*[mean_by_class(answers, labels) for answers in right])
    lines.append(line % (("mean", len(labels)) + tuple(100 * mean for mean in means)))
    lines.append("%-19s  %6.1f %%  %6.1f %%" % (("one std. error",)
                                               + tuple(100 * error for error in errors)))
    lines.append(line % (("of all", len(labels)) + tuple(100 * answers.mean() for answers in right)))
    lines.append("\nexpected calibration error %.2f %% (15 bins; mean confidence %.1f %%)" % (
        100 * calibration_error(by_views, labels), 100 * by_views.max(axis=1).mean()))
    lines.append("\na row a true class, a column an answer of predict:\n")
    lines.append(" " * 11 + "".join("%6s" % name[:5] for name in NAMES))
    lines += ["%-11s" % name + "".join("%6s" % (count or ".") for count in counts)
              for name, counts in zip(NAMES, confusion_matrix(labels, by_views.argmax(axis=1)))]
    return "\n".join(lines)


def sheet(pictures, captions):
    """Return one Pillow image of many, each in a tile with two lines of text below it."""
    height = TILE + 2 * LINE + 6
    rows = max(1, -(-len(pictures) // COLUMNS))
    whole = Image.new("RGB", (COLUMNS * (TILE + 4), rows * height), "white")
    pen = ImageDraw.Draw(whole)
    for place, (picture, caption) in enumerate(zip(pictures, captions)):
        left, top = place % COLUMNS * (TILE + 4), place // COLUMNS * height
        small = picture.copy()
        small.thumbnail((TILE, TILE), Image.BICUBIC)
        whole.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        for number, text in enumerate(caption):
            pen.text((left + 2, top + TILE + number * LINE), text, fill="black")
    return whole


def png_path(text):
    """An argparse type: the absolute path of a picture to draw, in a folder that is there."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError("%r does not end in .png" % text)
    return os.path.abspath(text)


def main():
    """Run the command line."""
    parser = console.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=file_path, default=RELEASE)
    parser.add_argument("--wrong", metavar="PNG", type=png_path,
                        help="draw the photographs with a wrong answer, the surest answer first")
    given = parser.parse_args()
    paths, labels = find_photos(given.folder)
    if not paths:
        raise console.UserError("there is no photograph in %s."
                                % os.path.join(given.folder, NAMES[0]))
    classifier = Classifier(given.checkpoint_dir)
    pictures = [read_picture(path) for path in paths]
    by_views = classifier.predict([picture_views(picture) for picture in pictures])
    by_squashing = classifier.probabilities(np.stack([squashed(picture) for picture in pictures]),
                                            np.ones(len(pictures), int))
    print(report(by_views, by_squashing, labels))
    if given.wrong:
        answers, sure = by_views.argmax(axis=1), by_views.max(axis=1)
        wrong = sorted(np.flatnonzero(answers != labels), key=lambda place: -sure[place])
        captions = [("%s %.0f %%" % (NAMES[answers[place]], 100 * sure[place]),
                     "is %s %.0f %%" % (NAMES[labels[place]], 100 * by_views[place, labels[place]]))
                    for place in wrong]
        drawn = sheet([pictures[place] for place in wrong], captions)
        write_whole(given.wrong, lambda stream: drawn.save(stream, "PNG"))
        print("\ndrew %d mistakes in %s" % (len(wrong), given.wrong))


if __name__ == "__main__":
    console.run(main)
