"""Measure ./predict on photographs sorted into folders: python tools/measure_photos.py FOLDER

FOLDER holds a folder for each class, with CIFAR-10's English names. Printed are the accuracies
(as ./predict predicts, and of each photograph squashed to 32x32), the calibration error of the
probabilities, and the confusion matrix.
"""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib")

import numpy as np

from ex03_cifar import RELEASE, SHORT_SIDE
from ex03_cifar.calibration import calibration_error
from ex03_cifar.classifier import Classifier
from ex03_cifar.views import picture_views, squashed
from support import console
from support.arguments import file_path
from support.picture import read_picture
from support.reports import confusion_matrix

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def find_photos(folder):
    """Return the photographs in the classes' folders: a list of paths and labels int [N]."""
    found = [(path, label) for label, name in enumerate(NAMES)
             for path in sorted(glob.glob(os.path.join(folder, name, "*")))]
    return [path for path, _ in found], np.array([label for _, label in found], int)


def mean_by_class(correct, labels):
    """Return (the mean of the classes' accuracies, its standard error for a sample of photographs).

    Args:
        correct: bool [N].
        labels: int [N]; classes without a photograph are left out.
    """
    classes = [correct[labels == label] for label in np.unique(labels)]
    rates = [part.mean() for part in classes]
    variances = [rate * (1 - rate) / len(part) for rate, part in zip(rates, classes)]
    return float(np.mean(rates)), float(np.sqrt(np.sum(variances)) / len(classes))


def report(by_views, by_squashing, labels):
    """Return the text that is printed.

    Args:
        by_views, by_squashing: float [N,10], probabilities.
        labels: int [N].
    """
    correct = [probabilities.argmax(axis=1) == labels for probabilities in (by_views, by_squashing)]
    line = "%-12s %6d  %6.1f %%  %6.1f %%"
    lines = ["%-12s %6s  %8s  %8s" % ("class", "photos", "predict", "squashed")]
    lines += [line % ((NAMES[label], np.sum(labels == label))
                      + tuple(100 * part[labels == label].mean() for part in correct))
              for label in np.unique(labels)]
    means, errors = zip(*[mean_by_class(part, labels) for part in correct])
    lines.append(line % (("mean", len(labels)) + tuple(100 * mean for mean in means)))
    lines.append("%-19s  %6.1f %%  %6.1f %%" % (("one std. error",)
                                               + tuple(100 * error for error in errors)))
    lines.append(line % (("of all", len(labels)) + tuple(100 * part.mean() for part in correct)))
    lines.append("\nexpected calibration error %.2f %% (15 bins; mean confidence %.1f %%)" % (
        100 * calibration_error(by_views, labels), 100 * by_views.max(axis=1).mean()))
    lines.append("\na row per true class, a column per predicted class:\n")
    lines.append(" " * 11 + "".join("%6s" % name[:5] for name in NAMES))
    lines += ["%-11s" % name + "".join("%6s" % (count or ".") for count in counts)
              for name, counts in zip(NAMES, confusion_matrix(labels, by_views.argmax(axis=1)))]
    return "\n".join(lines)


def main(arguments=None):
    parser = console.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", help="Read the photographs below this folder.")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=file_path, default=RELEASE,
                        help="Read the weights in this folder (default: %(default)s).")
    parser.add_argument("--output-dir", metavar="DIR", type=file_path,
                        help="Draw the photographs that are predicted wrongly, the most confident "
                             "first, into mistakes.png in this folder (default: do not).")
    given = parser.parse_args(arguments)
    if given.output_dir:
        console.writable_folder(given.output_dir)
    paths, labels = find_photos(given.folder)
    if not paths:
        raise console.UserError("there is no photograph in %s."
                                % os.path.join(given.folder, NAMES[0]))
    classifier = Classifier(given.checkpoint_dir, large_batch=True)
    pictures = [read_picture(path, SHORT_SIDE) for path in paths]
    by_views = classifier.predict([picture_views(picture) for picture in pictures])
    by_squashing = classifier.predict([[squashed(picture)[None]] for picture in pictures])
    print(report(by_views, by_squashing, labels))
    if given.output_dir:
        wrong = sorted(np.flatnonzero(by_views.argmax(axis=1) != labels),
                       key=lambda place: -by_views[place].max())
        captioned = [(pictures[place], "%s %.0f %%\nis %s" % (
            NAMES[by_views[place].argmax()], 100 * by_views[place].max(), NAMES[labels[place]]),
            True) for place in wrong]
        from figures.common import draw_gallery
        path = os.path.join(given.output_dir, "mistakes.png")
        draw_gallery([("Mistakes", captioned)], path)
        print("\nDrew %d mistakes in %s" % (len(wrong), console.printable(path)))


if __name__ == "__main__":
    console.run(main)
