"""The pictures of exercise 3."""
from figures.common import draw_curves


def draw_training(history, path, stages, all_images):
    """Draw the training curves into the PNG `path`.

    Args:
        history: a list of dicts, one per epoch, of "loss", "accuracy", and "validation" if known.
        stages: (label, begin, end) in epochs of each size of the images.
        all_images: how many epochs, from the first, train on all images.
    """
    draw_curves(history, path, [("accuracy", "training (augmented)"),
                                ("validation", "validation (whole images)")], stages,
                ("After epoch %d only the images with\nthe largest loss are trained on:\nthe loss "
                 "jumps up, accuracy drops." % all_images, all_images))
