"""Measure ./predict on photographs sorted into folders: python tools/measure_photos.py FOLDER

FOLDER holds one folder for each class, with CIFAR-10's English names. Printed is the accuracy of
each class with the views that ./predict takes, and with each photograph squashed to 32x32.
"""
import argparse
import glob
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ex03_cifar.classifier import RELEASE, Classifier  # noqa: E402, after the path
from ex03_cifar.views import picture_views, squashed  # noqa: E402
from support import console  # noqa: E402
from support.picture import read_picture  # noqa: E402

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--checkpoint-dir", default=RELEASE)
    given = parser.parse_args()
    paths = [(label, path) for label, name in enumerate(NAMES)
             for path in sorted(glob.glob(os.path.join(given.folder, name, "*")))]
    if not paths:
        raise console.UserError("there is no photograph in %s."
                                % os.path.join(given.folder, NAMES[0]))
    labels = np.array([label for label, _ in paths])
    pictures = [read_picture(path) for _, path in paths]
    classifier = Classifier(given.checkpoint_dir)
    by_views = classifier.look([picture_views(picture) for picture in pictures])
    by_squashing = classifier.probabilities(np.stack([squashed(picture) for picture in pictures]),
                                            np.ones(len(pictures), int))
    right = [probabilities.argmax(axis=1) == labels for probabilities in (by_views, by_squashing)]
    print("%-12s %6s  %8s  %8s" % ("class", "photos", "predict", "squashed"))
    means = [[], []]
    for label in np.unique(labels):
        accuracies = [100 * answers[labels == label].mean() for answers in right]
        for column, accuracy in zip(means, accuracies):
            column.append(accuracy)
        print("%-12s %6d  %6.1f %%  %6.1f %%" % (
            NAMES[label], (labels == label).sum(), accuracies[0], accuracies[1]))
    print("%-12s %6s  %6.1f %%  %6.1f %%" % ("mean", "", np.mean(means[0]), np.mean(means[1])))


if __name__ == "__main__":
    console.run(main)
