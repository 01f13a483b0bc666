"""What decided a prediction: Grad-CAM maps, and the numbers on a picture's way through the network.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) weights the channels of the last convolution
by the mean gradient of the class's logit and keeps what speaks for the class.
"""
import re
from collections import namedtuple

import numpy as np
from PIL import Image

from ex03_cifar.classifier import TTA_THRESHOLD
from ex03_cifar.network import DEVIATION, LOGIT_SCALE, MEAN
from ex03_cifar.views import SIDE, squashed

SCALES = 0.8, 0.6, 0.4  # sides of the sliding windows, relative to the picture's shorter side
MOST_STEPS = 15  # of the windows along one side, for elongated pictures
CELL = 8  # pixels of a view, the side of a cell of the last features
DRAWN_SIDE = 256  # pixels, the least that is kept of a drawn picture's shorter side
HEAT_SIDE = 96  # pixels, the same of the picture that the page's Grad-CAM maps are computed from
MAPS = 16  # feature maps of each layer on the page

# The operations that make a stage of a layer, by the beginning of their type's name.
KINDS = (("Conv2D", "convolution"), ("MaxPool", "pooling"), ("FusedBatchNorm", "normalisation"),
         ("Add", "shortcut"), ("IdentityN", "activation"))

# The pixels of the view that a cell depends on, alike for rows and columns: cell i those from
# start + i * step on, `size` of them; start is negative where zero padding is added.
Field = namedtuple("Field", "size step start")
Stage = namedtuple("Stage", "kind field maps")  # maps: float32 [H,W,K] of the layer's channels
# position: (block, convolution), None of the whitening; kernel: its shape; channels: int [K]
Layer = namedtuple("Layer", "position kernel channels stages")

# The way of one picture to its probabilities.
#   views: uint8 [V,S,S,3], those that the prediction averages; layers: those of the first one.
#   mean, deviation: [3], what the pixels are normalised by before the first convolution.
#   kernel: float32 [h,w,3,K], the filters of the first layer's K maps.
#   features: float32 [C], the maxima of the last layer's maps; cells: int [C,2], their rows and
#   columns; head: float32 [C,10] and scale, with logits = scale * features @ head.
#   logits: float32 [V,10], of each view; temperature: a float, divides their mean.
#   heat: float [10,H,W] in [0,1], the Grad-CAM map of each class.
#   threshold: the probability from which nothing more is asked; precision: of the blocks.
Walk = namedtuple("Walk", "views layers mean deviation kernel features cells head scale logits "
                          "temperature heat threshold precision")


def walk(classifier, picture, views):
    """Return the `Walk` of a Pillow image in RGB whose `views.Views` are `views`."""
    tensors = layers(classifier)
    dense = _dense(classifier)
    outputs, kernels, head, features, logits = classifier.session.run(
        [[[stage.maps for stage in layer] for layer in tensors],
         [layer[0].maps.op.inputs[1] for layer in tensors], dense.inputs[1], dense.inputs[0],
         classifier.logits], {classifier.images: views.first})
    used, certain = views.first, classifier.probabilities(logits.mean(axis=0)[None]).max()
    if certain < TTA_THRESHOLD and len(views.further):
        used = np.concatenate(views)
        logits = np.concatenate([logits, classifier.view_logits(views.further)])
    shown = [_strongest(stages, maps, kernel.shape)
             for stages, maps, kernel in zip(tensors, outputs, kernels)]
    last = outputs[-1][-1][0].astype(np.float32)
    cells = last.reshape(-1, last.shape[-1]).argmax(axis=0)
    heat = grad_cam(classifier, picture.reduce(max(1, min(picture.size) // HEAT_SIDE)),
                    range(logits.shape[1]))
    return Walk(used, shown, MEAN, DEVIATION, kernels[0][..., shown[0].channels], features[0],
                np.stack(np.unravel_index(cells, last.shape[:2]), axis=1), head, LOGIT_SCALE,
                logits, classifier.temperature, heat, TTA_THRESHOLD, classifier.precision)


def _dense(classifier):
    """Return the operation of the fully connected layer: the maxima times the weights."""
    scaled = classifier.logits.op.inputs[0].op
    return next(tensor.op for tensor in scaled.inputs if tensor.op.type == "MatMul")


def layers(classifier):
    """Return for each convolution the list of its `Stage`s, `maps` being tensors [N,H,W,C]."""
    scope = classifier.logits.op.inputs[0].op.name.split("/")[0] + "/"
    found, field = [], Field(1, 1, 0)
    for operation in classifier.session.graph.get_operations():
        if not operation.name.startswith(scope):
            continue
        kind = next((kind for start, kind in KINDS if operation.type.startswith(start)), None)
        if kind == "convolution":
            found.append([])
        # A convolution with a gradient of its own ends in an IdentityN too.
        if kind and not (kind == "activation" and found[-1][-1].kind == "convolution"):
            field = _field(operation, kind, field)
            found[-1].append(Stage(kind, field, operation.outputs[0]))
    return found


def position(stages):
    """Return the numbers (block, convolution) of a layer, or None of the whitening."""
    found = re.search(r"block(\d+)/conv(\d+)", stages[0].maps.name)
    return found and tuple(map(int, found.groups()))


def _field(operation, kind, field):
    """Return the `Field` of an operation's cells, `field` being that of its input's."""
    if kind == "convolution":
        size = int(operation.inputs[1].shape[0])
    elif kind == "pooling":
        size = operation.get_attr("ksize")[1]
    else:
        return field
    padding = (size - 1) // 2 if operation.get_attr("padding") == b"SAME" else 0
    return Field(field.size + (size - 1) * field.step,
                 field.step * operation.get_attr("strides")[1], field.start - padding * field.step)


def _strongest(stages, maps, kernel):
    """Return the `Layer` of the channels whose activation is the greatest anywhere."""
    channels = np.argsort(-maps[-1][0].astype(np.float32).max(axis=(0, 1)), kind="stable")[:MAPS]
    return Layer(position(stages), kernel, channels, [
        stage._replace(maps=values[0][..., channels].astype(np.float32))
        for stage, values in zip(stages, maps)])


def windows(width, height):
    """Return the boxes (left, top, right, bottom) of squares that cover a picture, and the whole.

    The network's last features are 3x3 cells per view, too coarse to show a shape. Overlapping
    windows of three sizes, averaged where they overlap, show one.
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


def grad_cam(classifier, picture, classes):
    """Return the Grad-CAM maps of K classes, float [K,H,W] in [0,1], of a Pillow image in RGB.

    The maps of all windows lie where the windows lie, each weighted by the probability that its
    window has for the class. Each class's map is scaled to its own maximum.

    Args:
        classes: the numbers of the K classes.
    """
    margin = min(picture.size) // 4  # or no window's cells would reach the right and lower border
    shown = slice(margin, margin + picture.height), slice(margin, margin + picture.width)
    picture = Image.fromarray(np.pad(np.asarray(picture), ((margin,) * 2,) * 2 + ((0, 0),), "edge"))
    boxes = windows(*picture.size)
    views = np.stack([squashed(picture, box) for box in boxes])
    maps, probabilities = _maps(classifier, views, classes)
    total = np.zeros((len(classes),) + picture.size[::-1])
    weights = np.zeros(picture.size[::-1])
    for number, (left, top, right, bottom) in enumerate(boxes):
        # Three poolings drop what does not fill a cell: the 3x3 cells are the first 24 pixels.
        width, height = [max(1, int(length * maps.shape[2] * CELL / SIDE))
                         for length in (right - left, bottom - top)]
        place = (slice(int(top), int(top) + height), slice(int(left), int(left) + width))
        # A window counts less towards its border, or the borders would show.
        taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]) + 1e-3
        weights[place] += taper
        for heat, values, probability in zip(total, maps[:, number], probabilities[:, number]):
            values = Image.fromarray(values).resize((width, height), Image.BICUBIC)
            heat[place] += taper * probability * np.maximum(values, 0)
    heat = (total / np.maximum(weights, 1e-3))[(slice(None),) + shown]
    heat -= heat.min(axis=(1, 2), keepdims=True)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-6)


def _maps(classifier, views, classes):
    """Return maps float32 [K,N,3,3] of views uint8 [N,32,32,3], and K probabilities [K,N].

    A logit grows with the maximum of a map alone: its gradient is the head's weight there, and
    zero in the map's other cells. Its mean over the cells is therefore known without a gradient.
    """
    features, head, logits = classifier.session.run(
        [layers(classifier)[-1][-1].maps, _dense(classifier).inputs[1], classifier.logits],
        {classifier.images: views})
    mean_gradients = LOGIT_SCALE * head[:, classes] / features[0, ..., 0].size
    maps = np.maximum(features.astype(np.float32).dot(mean_gradients), 0)
    probabilities = classifier.probabilities(logits)
    return maps.transpose(3, 0, 1, 2), probabilities[:, classes].T
