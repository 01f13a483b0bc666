"""Evaluate the released network on the CIFAR-10 test set: python -m ex03_cifar.evaluate"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib")

import os

import numpy as np

from ex03_cifar import RELEASE, RUN, dataset
from ex03_cifar.calibration import calibration_error
from ex03_cifar.classifier import Classifier
from ex03_cifar.release import draw_curves
from ex03_cifar.views import cifar_views
from support import console
from support.arguments import checkpoint_folder, choose_folders, file_path, whole_number
from support.reports import accuracy, class_table, confusion_matrix

IMAGES_A_TIME = 500  # with six views each, between two steps of the progress bar


def main(arguments=None):
    parser = console.Parser(
        prog="python -m ex03_cifar.evaluate",
        description="Print the accuracy of the released CIFAR-10 network on the test set, class by "
                    "class, with the views that ./predict averages, and draw the confusion matrix.")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=checkpoint_folder, default=RELEASE,
                        help="Read the weights in this folder (default: %(default)s).")
    parser.add_argument("--data-dir", metavar="DIR", type=file_path,
                        help="Folder of CIFAR-10 (default: in $KERAS_HOME, else in ~/.keras, where "
                             "Keras downloads it if need be).")
    parser.add_argument("--images", metavar="N", type=whole_number(1, 10000), default=10000,
                        help="Evaluate on the first N test images (default: all 10,000).")
    parser.add_argument("--exact", action="store_true",
                        help="Compute in float32 even where the processor has bfloat16.")
    parser.add_argument("--output-dir", metavar="DIR", type=file_path,
                        help="Draw ex03_confusion.png, and ex03_training.png where the weights "
                             "have a history, in this folder (default: checkpoints/runs/cifar10; "
                             "with --checkpoint-dir, that folder).")
    given = parser.parse_args(arguments)
    choose_folders(given, RELEASE, RELEASE, RUN)
    classifier = Classifier(given.checkpoint_dir, given.exact, large_batch=True)
    images, labels = [whole[:given.images] for whole in dataset.load_test(given.data_dir)]
    picture = os.path.join(console.writable_folder(given.output_dir), "ex03_confusion.png")
    probabilities, single = [], []  # by all views, as ./predict; the class by the first alone
    with console.progress(len(images), "image") as bar:
        for start in range(0, len(images), IMAGES_A_TIME):
            views = cifar_views(images[start:start + IMAGES_A_TIME])
            probabilities.append(classifier.predict([[six] for six in views]))
            single.append(classifier.view_logits(views[:, 0]).argmax(axis=1))
            bar.update(len(views))
    probabilities, single = np.concatenate(probabilities), np.concatenate(single)
    counts = confusion_matrix(labels, probabilities.argmax(axis=1))
    print("test accuracy %.2f %% over %d images (%.2f %% without view averaging)" % (
        100 * accuracy(counts), len(labels), 100 * np.mean(single == labels)))
    print("expected calibration error %.2f %%\n" % (100 * calibration_error(probabilities, labels)))
    print("\n".join(class_table(counts, dataset.CLASSES)))
    from figures.common import draw_confusion
    draw_confusion(counts, dataset.CLASSES, picture)
    draw_confusion(counts, dataset.CLASSES, os.path.join(given.output_dir, "fr_ex03_confusion.png"),
                   language="fr")
    console.say("\nDrew %s" % picture)
    curves = os.path.join(given.output_dir, "ex03_training.png")
    if draw_curves(given.checkpoint_dir, curves):
        console.say("Drew %s" % curves)


if __name__ == "__main__":
    console.run(main)
