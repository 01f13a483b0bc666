"""Evaluate the released network on the CIFAR-10 test set: python -m ex03_cifar.evaluate"""
import argparse
import os
import sys

import numpy as np

from ex03_cifar import dataset
from ex03_cifar.checkpoint import CheckpointError
from ex03_cifar.classifier import RELEASE, Classifier
from ex03_cifar.figures import IMAGES, draw_confusion, png_path
from ex03_cifar.views import cifar_views


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error in [0,1] (Guo et al. 2017, arXiv 1706.04599).

    Args:
        probabilities: float [N,10].
        labels: int [N].
        bins: how many intervals of equal width the confidences are sorted into.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(correct[places == place].sum() - confidence[places == place].sum())
            for place in range(bins)]
    return float(np.sum(gaps) / len(labels))


def confusion_matrix(labels, answers):
    """Count each pair: int [10,10], a row a true class, a column an answer."""
    return np.bincount(10 * labels + answers, minlength=100).reshape(10, 10)


def report(probabilities, single, labels):
    """Return the text that is printed: accuracies, calibration, and a line a class.

    Args:
        probabilities: float [N,10], averaged over each image's views.
        single: float [N,10], of the images alone.
        labels: int [N].
    """
    counts = confusion_matrix(labels, probabilities.argmax(axis=1))
    lines = ["test accuracy %.2f %% over %d images (%.2f %% without view averaging)"
             % (100 * np.trace(counts) / len(labels), len(labels),
                100 * np.mean(single.argmax(axis=1) == labels)),
             "expected calibration error %.2f %%"
             % (100 * calibration_error(probabilities, labels)),
             "", "%-11s %6s %8s %9s  %s" % ("class", "images", "found", "precision", "taken for")]
    for place, name in enumerate(dataset.CLASSES):
        others = np.where(np.arange(10) == place, -1, counts[place])
        lines.append("%-11s %6d %6.1f %% %7.1f %%  %s (%d)" % (
            name, counts[place].sum(), 100 * counts[place, place] / max(1, counts[place].sum()),
            100 * counts[place, place] / max(1, counts[:, place].sum()),
            dataset.CLASSES[others.argmax()], others.max()))
    return "\n".join(lines)


def parse(arguments):
    """Return the command line's options as an `argparse.Namespace`."""
    parser = argparse.ArgumentParser(
        prog="python -m ex03_cifar.evaluate", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Test accuracy of the released CIFAR-10 network, class by class, "
                    "with the views that ./predict averages over.")
    parser.add_argument("--checkpoint-dir", default=RELEASE, help="the released weights")
    parser.add_argument("--data-dir", default=dataset.default_folder(),
                        help="the folder of the CIFAR-10 binary version; the default one is "
                        "downloaded where it is missing")
    parser.add_argument("--confusion", type=png_path,
                        default=os.path.join(IMAGES, "ex03_confusion.png"),
                        help="where the confusion matrix is drawn")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Run the command line; return the exit code."""
    given = parse(arguments)
    try:
        classifier = Classifier(given.checkpoint_dir)
        images, labels = dataset.load_test(given.data_dir)
    except CheckpointError as error:
        print("error: %s Make a new one by python -m ex03_cifar.train, or fetch the released one "
              "again." % error, file=sys.stderr)
        return 2
    except dataset.DatasetError as error:
        sys.exit("error: %s" % error)
    views = cifar_views(images)
    logits = classifier.view_logits(views.reshape(-1, 32, 32, 3))
    probabilities = classifier.average(logits, np.full(len(images), views.shape[1]))
    # The first view is the image as it is.
    single = classifier.average(logits[::views.shape[1]], np.ones(len(images), int))
    print(report(probabilities, single, labels))
    try:
        draw_confusion(confusion_matrix(labels, probabilities.argmax(axis=1)), dataset.CLASSES,
                       given.confusion)
    except OSError as error:
        sys.exit("error: %s cannot be written: %s." % (given.confusion, error.strerror or error))
    print("\ndrew %s" % given.confusion)
    return 0


if __name__ == "__main__":
    sys.exit(main())
