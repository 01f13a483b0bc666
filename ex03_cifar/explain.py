"""What decided a prediction: Grad-CAM maps, and the network itself for the page that computes.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) weights the channels of the last convolution
by the mean gradient of the class's logit and keeps what speaks for the class.
"""
import re
from collections import namedtuple

import numpy as np
from PIL import Image

from ex03_cifar import SHORT_SIDE, views
from ex03_cifar.classifier import TTA_THRESHOLD
from ex03_cifar.network import DEVIATION, EPSILON, LOGIT_SCALE, MEAN
from support.picture import LONGEST

SIDES = 32, 48, 64  # pixels, the shorter side of the picture in which the class is looked for
LONGER = 8  # times that is the longer side at most
CELL = 8  # pixels, the side of a cell of the last maps
DRAWN_SIDE = 256  # pixels, the least that is kept of a drawn picture's shorter side

# name: "whitening" or "blockN/convM"; kernel: float32 [h,w,C,F], which float16 holds exactly where
# it was stored so; scale: float32 [F], by which it is multiplied; bias: float32 [F]
Layer = namedtuple("Layer", "name kernel scale bias")


def page_network(classifier):
    """Return what a page needs to compute what `Classifier.predict` does.

    A dict of numbers and, in it, the `layers` in their order and `head` float32 [C,10].
    """
    names = [re.match(r"network/(block\d+/conv\d+)/kernel$", operation.name)
             for operation in classifier.session.graph.get_operations()]
    layers = [_folded(classifier, "whitening", "whitening_norm")]
    layers += [_folded(classifier, name.group(1), name.group(1).replace("conv", "norm"))
               for name in names if name]
    return dict(
        layers=layers, head=_variable(classifier, "network/head/kernel"), logitScale=LOGIT_SCALE,
        temperature=float(classifier.temperature), threshold=TTA_THRESHOLD,
        mean=MEAN, deviation=DEVIATION, side=views.SIDE, wholeSide=views.WHOLE_SIDE,
        smallSide=views.SMALL_SIDE, squareSide=views.SQUARE_SIDE, squareCrop=views.SQUARE_CROP,
        margin=views.MARGIN, least=views.LEAST, shortSide=SHORT_SIDE, longest=LONGEST)


def _folded(classifier, name, norm):
    """Return a `Layer`, its batch normalisation folded into scale and bias.

    Normalisation divides each map by a positive number, which commutes with the max-pooling that
    may stand before it, and adds another.
    """
    kernel, mean, variance, beta = [_variable(classifier, "network/" + part) for part in (
        name + "/kernel", norm + "/moving_mean", norm + "/moving_variance", norm + "/beta")]
    scale = 1 / np.sqrt(variance + EPSILON)
    return Layer(name, kernel, scale, beta - mean * scale)


def _variable(classifier, name):
    """Return the value of a restored variable, by its name in the checkpoint."""
    tensor = classifier.session.graph.get_operation_by_name(name).outputs[0]
    reads = [operation.outputs[0] for operation in tensor.consumers()
             if operation.type == "ReadVariableOp"]  # of a resource variable
    return classifier.session.run((reads + [tensor])[0]).astype(np.float32)


def last_maps(classifier):
    """Return the tensor [N,H,W,C] of the last layer's maps, whose maxima the head weighs."""
    scope = classifier.logits.op.inputs[0].op.name.split("/")[0]
    graph = classifier.session.graph
    return graph.get_operation_by_name(scope + "/global_max_pooling").inputs[0]


def grad_cam(classifier, picture, classes):
    """Return the Grad-CAM maps of K classes, float [K,H,W] in [0,1], of a Pillow image in RGB.

    The network is convolutional: the picture may have any size. At three sizes, larger than those
    of the views, the last maps have cells enough to show a shape; their mean does.

    Args:
        classes: the numbers of the K classes.
    """
    total = np.zeros((len(classes),) + picture.size[::-1])
    for side in SIDES:
        size = [min(LONGER * side, max(1, round(length * side / min(picture.size))))
                for length in picture.size]
        margin = side // 4  # a border cell sees more of the margin than of the picture
        pixels = np.pad(np.asarray(picture.resize(size, Image.BICUBIC)),
                        ((margin,) * 2,) * 2 + ((0, 0),), "edge")
        for heat, cells in zip(total, class_maps(classifier, pixels, classes)):
            # The cells begin with the first pixel; where half a one is left over, they lack it.
            box = [edge / CELL for edge in (margin, margin, margin + size[0], margin + size[1])]
            box = box[:2] + [min(edge, length) for edge, length in zip(box[2:], cells.shape[::-1])]
            heat += np.asarray(Image.fromarray(cells).resize(picture.size, Image.BICUBIC, box))
    total = np.maximum(total - np.maximum(total, 0).min(axis=(1, 2), keepdims=True), 0)
    return total / np.maximum(total.max(axis=(1, 2), keepdims=True), 1e-6)


def class_maps(classifier, pixels, classes):
    """Return the maps float32 [K,h,w] of K classes, zero or more, of a picture uint8 [H,W,3].

    A logit grows with the maximum of a map alone: its gradient is the head's weight there, and
    zero in the map's other cells. Its mean over the cells is therefore known without a gradient.
    """
    maps = classifier.session.run(last_maps(classifier), {classifier.images: pixels[np.newaxis]})[0]
    weights = LOGIT_SCALE * _variable(classifier, "network/head/kernel")[:, classes]
    weighted = maps.astype(np.float32).dot(weights / maps[..., 0].size)
    return np.maximum(weighted, 0).transpose(2, 0, 1)
