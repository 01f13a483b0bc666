"""Measure ./predict on photographs sorted into folders: python tools/measure_photos.py FOLDER

FOLDER holds a folder for each class, with CIFAR-10's English names. Printed are a table by class,
the accuracies (as ./predict predicts, and of each photograph squashed to 32x32), and the
calibration error of the probabilities.
"""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check()

import numpy as np

from ex03_cifar import RELEASE, SHORT_SIDE
from ex03_cifar.calibration import calibration_error
from ex03_cifar.classifier import Classifier
from ex03_cifar.views import picture_views, squashed
from support import console
from support.arguments import checkpoint_folder
from support.picture import read_picture
from support.reports import class_table, confusion_matrix

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def mean_by_class(correct, labels):
    """Return the mean of the accuracies of the classes in `labels`, and its standard error."""
    classes = [correct[labels == label] for label in np.unique(labels)]
    rates = [part.mean() for part in classes]
    variances = [rate * (1 - rate) / len(part) for rate, part in zip(rates, classes)]
    return float(np.mean(rates)), float(np.sqrt(np.sum(variances)) / len(classes))


def main(arguments=None):
    parser = console.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", help="Read the photographs below this folder.")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=checkpoint_folder, default=RELEASE,
                        help="Read the weights in this folder (default: %(default)s).")
    given = parser.parse_args(arguments)
    photos = [(read_picture(path, SHORT_SIDE), label) for label, name in enumerate(NAMES)
              for path in sorted(glob.glob(os.path.join(given.folder, name, "*")))]
    if not photos:
        raise console.UserError("there is no photograph in %s."
                                % os.path.join(given.folder, NAMES[0]))
    pictures, labels = zip(*photos)
    labels = np.array(labels)
    classifier = Classifier(given.checkpoint_dir, large_batch=True)
    probabilities = classifier.predict([picture_views(picture) for picture in pictures])
    by_squashing = classifier.predict([[squashed(picture)[None]] for picture in pictures])
    print("\n".join(class_table(confusion_matrix(labels, probabilities.argmax(axis=1)), NAMES)))
    for title, part in (("\n./predict", probabilities), ("squashed to 32x32", by_squashing)):
        correct = part.argmax(axis=1) == labels
        mean, error = mean_by_class(correct, labels)
        print("%s: mean over the classes %.1f %% (one std. error: %.1f %%), of all %.1f %%" % (
            title, 100 * mean, 100 * error, 100 * correct.mean()))
    print("expected calibration error %.2f %% (15 bins; mean confidence %.1f %%)" % (
        100 * calibration_error(probabilities, labels), 100 * probabilities.max(axis=1).mean()))


if __name__ == "__main__":
    console.run(main)
