"""Evaluate the released network on the CIFAR-10 test set: python -m ex03_cifar.evaluate"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib")

import argparse
import os

import numpy as np

from ex03_cifar import dataset
from ex03_cifar.calibration import calibration_error
from ex03_cifar.classifier import RELEASE, Classifier
from ex03_cifar.views import cifar_views
from support import console
from support.arguments import whole_number
from support.reports import accuracy, class_table, confusion_matrix


def report(probabilities, single, labels):
    """Return the text that is printed: accuracies, calibration, and a line a class.

    Args:
        probabilities: float [N,10], averaged over each image's views.
        single: float [N,10], of the images alone.
        labels: int [N].
    """
    counts = confusion_matrix(labels, probabilities.argmax(axis=1))
    return "\n".join([
        "test accuracy %.2f %% over %d images (%.2f %% without view averaging)"
        % (100 * accuracy(counts), len(labels), 100 * np.mean(single.argmax(axis=1) == labels)),
        "expected calibration error %.2f %%" % (100 * calibration_error(probabilities, labels)),
        ""] + class_table(counts, dataset.CLASSES))

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
    parser.add_argument("--images", type=whole_number(1, 10000), default=10000,
                        help="how many test images, from the first on")
    parser.add_argument("--exact", action="store_true",
                        help="compute in float32 even where the processor has bfloat16")
    parser.add_argument("--confusion", type=console.png_path, default=argparse.SUPPRESS,
                        help="where the confusion matrix is drawn (default: ex03_confusion.png in "
                             "images/, with --checkpoint-dir in that folder)")
    given = parser.parse_args(arguments)
    if "confusion" not in given:
        given.confusion = os.path.join(console.picture_folder(given.checkpoint_dir, RELEASE),
                                       "ex03_confusion.png")
    return given


def main(arguments=None):
    """Run the command line."""
    given = parse(arguments)
    classifier = Classifier(given.checkpoint_dir, given.exact)
    images, labels = [whole[:given.images] for whole in dataset.load_test(given.data_dir)]
    views = cifar_views(images)
    with console.progress(views.shape[0] * views.shape[1], "view") as bar:
        logits = classifier.view_logits(views.reshape(-1, 32, 32, 3), bar.update)
    probabilities = classifier.average(logits, np.full(len(images), views.shape[1]))
    # The first view is the image as it is.
    single = classifier.average(logits[::views.shape[1]], np.ones(len(images), int))
    print(report(probabilities, single, labels))
    from figures.common import draw_confusion
    draw_confusion(confusion_matrix(labels, probabilities.argmax(axis=1)), dataset.CLASSES,
                   given.confusion)
    print("\ndrew %s" % given.confusion)


if __name__ == "__main__":
    console.run(main)
