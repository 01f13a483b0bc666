"""What decided an answer: a Grad-CAM map of a picture.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) weights the channels of the last convolution
by the mean gradient of the class's logit and keeps what speaks for the class.
"""
import numpy as np
from PIL import Image

from ex03_cifar.views import SIDE, squashed
from support.tf1 import tf

SCALES = 0.8, 0.6, 0.4  # of the shorter side, the sides of the windows that are looked through
MOST_STEPS = 15  # of the windows along one side, for pictures that are all length
CELL = 8  # pixels of a view, the side of a cell of the last features
DRAWN_SIDE = 256  # pixels, at least this much of the picture's shorter side is drawn


def windows(width, height):
    """Return the boxes (left, top, right, bottom) of squares that cover a picture, and the whole.

    The network's last features are 3x3 cells a view, too coarse to show a shape. Windows of three
    sizes that overlap, averaged where they do, show one.
    """
    boxes = [(0, 0, width, height)]
    for scale in SCALES:
        side = scale * min(width, height)
        columns, rows = [1 + min(MOST_STEPS, int(np.ceil((length - side) / (side / 4))))
                         for length in (width, height)]
        boxes += [(left, top, left + side, top + side)
                  for left in np.linspace(0, width - side, columns)
                  for top in np.linspace(0, height - side, rows)]
    return boxes


def grad_cam(classifier, picture, number):
    """Return the Grad-CAM map of class `number`, float [H,W] in [0,1], of a Pillow image in RGB.

    The maps of all windows lie where the windows lie, and each counts as much as its window
    speaks for the class.
    """
    margin = min(picture.size) // 4  # or no window's cells would reach the right and lower border
    shown = slice(margin, margin + picture.height), slice(margin, margin + picture.width)
    picture = Image.fromarray(np.pad(np.asarray(picture), ((margin,) * 2,) * 2 + ((0, 0),), "edge"))
    boxes = windows(*picture.size)
    views = np.stack([squashed(picture, box) for box in boxes])
    maps, confidences = _maps(classifier, views, number)
    total, weights = np.zeros((2,) + picture.size[::-1])
    for (left, top, right, bottom), values, confidence in zip(boxes, maps, confidences):
        # Three poolings drop what does not fill a cell: the 3x3 cells are the first 24 pixels.
        width, height = [max(1, int(length * len(values) * CELL / SIDE))
                         for length in (right - left, bottom - top)]
        place = (slice(int(top), int(top) + height), slice(int(left), int(left) + width))
        values = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.BICUBIC)
        # A window counts less towards its border, or the borders would show.
        taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]) + 1e-3
        total[place] += taper * confidence * np.maximum(values, 0)
        weights[place] += taper
    heat = (total / np.maximum(weights, 1e-3))[shown]
    heat -= heat.min()
    return heat / max(heat.max(), 1e-6)


def _maps(classifier, views, number):
    """Return the maps float [N,3,3] of views uint8 [N,32,32,3] and the class's probabilities [N]."""
    graph = classifier.session.graph
    with graph.as_default():
        features = graph.get_operation_by_name("network/global_max_pooling").inputs[0]
        gradient, = tf.gradients(
            graph.get_tensor_by_name("float32_logits:0")[:, number], features)
        weights = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=3))
    maps = classifier.session.run(heat, {classifier.images: views})
    return maps, classifier.probabilities(views, np.ones(len(views), int))[:, number]
