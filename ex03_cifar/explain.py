"""What decided a prediction: Grad-CAM maps, and the network itself for the page that computes.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) weights the channels of the last convolution
by the mean gradient of the class's logit and keeps what speaks for the class.
"""
import numpy as np
from PIL import Image

from ex03_cifar import SHORT_SIDE, views
from ex03_cifar.classifier import TTA_THRESHOLD
from ex03_cifar.network import DEVIATION, EPSILON, LOGIT_SCALE, MEAN

SIDES = 32, 48, 64  # pixels, the shorter side of the picture in which the class is looked for
LONGER = 8  # times that is the longer side at most
CELL = 8  # pixels, the side of a cell of the last maps
HEAD = "network/head/kernel"  # a variable float32 [C,10]
DRAWN_SIDE = 256  # pixels, the least that is kept of a drawn picture's shorter side


def page_network(classifier):
    """Return (numbers, kernels): what a page needs to compute what `Classifier.predict` does.

    Batch normalisation is folded in: it divides each map by a positive number, which commutes
    with the max-pooling that may stand before it, and adds another.

    Returns:
        numbers: a dict of numbers and arrays; "layers" describes the convolutions, in order.
        kernels: of these, a list of float32 [h,w,C,F].
    """
    values, layers, kernels = variables(classifier), [], []
    names = [name[:-len("/kernel")] for name in values if name.endswith("/kernel")]
    norms = [name[:-len("beta")] for name in values if name.endswith("/beta")]
    for name, norm in zip(names, norms):  # the last name is the head's, which has no normalisation
        scale = 1 / np.sqrt(values[norm + "moving_variance"] + EPSILON)
        kernels.append(values[name + "/kernel"] * scale)
        size, _, channels, filters = kernels[-1].shape
        title = name.replace("network/block", "Bloc ").replace("/conv", ", convolution ")
        layers.append(dict(name=title.replace("network/whitening", "Blanchiment"), size=size,
                           channels=channels, filters=filters, length=size * size * channels,
                           bias=values[norm + "beta"] - values[norm + "moving_mean"] * scale))
    return dict(
        layers=layers, head=values[HEAD], logitScale=LOGIT_SCALE, threshold=TTA_THRESHOLD,
        temperature=classifier.temperature, mean=MEAN, deviation=DEVIATION, side=views.SIDE,
        wholeSide=views.WHOLE_SIDE, smallSide=views.SMALL_SIDE, squareSide=views.SQUARE_SIDE,
        squareCrop=views.SQUARE_CROP, margin=views.MARGIN, least=views.LEAST,
        shortSide=SHORT_SIDE), kernels


def variables(classifier, beginning=""):
    """Return the values of the variables with this beginning of their names, in the order of
    creation: a dict of name to float32."""
    found = [variable for variable in classifier.session.graph.get_collection("variables")
             if variable.op.name.startswith(beginning)]
    return {variable.op.name: value.astype(np.float32)
            for variable, value in zip(found, classifier.session.run(found))}


def last_maps(classifier):
    """Return the tensor [N,H,W,C] of the last layer's maps, whose maxima the head weighs."""
    graph, name = classifier.session.graph, classifier.logits.op.inputs[0].op.name
    return graph.get_operation_by_name(name.split("/")[0] + "/global_max_pooling").inputs[0]


def grad_cam(classifier, picture, classes):
    """Return the Grad-CAM maps float [K,H,W] in [0,1] of a Pillow image in RGB for K class numbers.

    The network is convolutional: the picture may have any size. At three sizes, larger than those
    of the views, the last maps have cells enough to show a shape; their mean does.
    """
    total = np.zeros((len(classes),) + picture.size[::-1])
    weights = variables(classifier, HEAD)[HEAD][:, classes]
    for side in SIDES:
        size = [min(LONGER * side, max(1, round(length * side / min(picture.size))))
                for length in picture.size]
        margin = side // 4  # a border cell sees more of the margin than of the picture
        pixels = np.pad(np.asarray(picture.resize(size, Image.BICUBIC)),
                        ((margin,) * 2,) * 2 + ((0, 0),), "edge")
        for heat, cells in zip(total, class_maps(classifier, pixels, weights)):
            # The cells begin with the first pixel; where half a one is left over, they lack it.
            box = [edge / CELL for edge in (margin, margin, margin + size[0], margin + size[1])]
            box = box[:2] + [min(edge, length) for edge, length in zip(box[2:], cells.shape[::-1])]
            heat += np.asarray(Image.fromarray(cells).resize(picture.size, Image.BICUBIC, box))
    total = np.maximum(total - np.maximum(total, 0).min(axis=(1, 2), keepdims=True), 0)
    return total / np.maximum(total.max(axis=(1, 2), keepdims=True), 1e-6)


def class_maps(classifier, pixels, weights):
    """Return the maps float32 [K,h,w], zero or more, of K classes and a picture uint8 [H,W,3].

    A logit grows with the maximum of a map alone: its gradient is the head's weight there, and
    zero in the map's other cells. Its mean over the cells is therefore known without a gradient.
    `weights` float32 [C,K] are the head's for the K classes.
    """
    maps = classifier.session.run(last_maps(classifier), {classifier.images: pixels[np.newaxis]})[0]
    weighted = maps.astype(np.float32).dot(weights * LOGIT_SCALE / maps[..., 0].size)
    return np.maximum(weighted, 0).transpose(2, 0, 1)
