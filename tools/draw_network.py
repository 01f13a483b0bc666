"""Draw what exercise 2 learns, from the released weights and from a short training of its own.

    python tools/draw_network.py      images/ex02_filters.png, ex02_architecture.png, and in French
                                      fr_architecture.png and fr_apprentissage.png

Filters of the first layer before and after training; one garment's way through all layers, which
are read off the graph that computes predictions; three filters at several moments of a training.
"""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import ex02_fashion_cnn as ex02  # noqa: E402, the path is set above
from support import console  # noqa: E402
from support.arguments import add_output_dir  # noqa: E402
from support.tf1 import tf  # noqa: E402

KINDS = {"Conv2D": "Convolution", "MaxPool": "Max-pooling", "Relu": "Normalise, ReLU",
         "Softmax": "Output, softmax"}
SHOWN = 2  # filters of each kind
# A small network, so that six epochs take a minute.
SHORT = ex02.Recipe(epochs=6, filters=(12, 24, 48), dense_units=64, precision="float32")
MOMENTS = 0, 150, 300, 450, 700  # steps after which the filters are drawn, and the end


def first_kernels(session):
    """Return the filters of the first convolution, float32 [K,K,F]."""
    first = next(found for found in session.graph.get_operations() if found.type == "Conv2D")
    return session.run(first.inputs[1])[:, :, 0]


def untrained(filters):
    """Return that many filters as a training starts with them, float32 [K,K,F]."""
    recipe = ex02.Recipe(filters=(filters,) * 3, precision="float32")
    model = ex02.training_graph(recipe, steps=1)
    with tf.Session(graph=model.graph) as session:
        session.run(model.initialise)
        return first_kernels(session)


def templates(side):
    """Return (name, float [K,K]) of ideal edges, stripes and spots."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    square = x ** 2 + y ** 2
    found = [("spot", (1 - square / 2) * np.exp(-square / 2))]
    for angle in np.deg2rad(range(0, 180, 15)):
        across = x * np.cos(angle) + y * np.sin(angle)
        found += [("edge", across * np.exp(-square / 3.4)),
                  ("stripe", (1 - across ** 2 / 1.2) * np.exp(-across ** 2 / 2.4))]
    return found


def named_filters(kernels):
    """Return (name, number) of those of [K,K,F] that are most like an edge, a spot, a stripe."""
    ideals = templates(len(kernels))
    likeness = np.abs([[np.corrcoef(values.ravel(), ideal.ravel())[0, 1] for _, ideal in ideals]
                       for values in np.moveaxis(kernels, -1, 0)])
    names = np.array([name for name, _ in ideals])[likeness.argmax(axis=1)]
    order = np.argsort(-likeness.max(axis=1), kind="stable")
    return [(kind, number) for kind in ("edge", "spot", "stripe")
            for number in [number for number in order if names[number] == kind][:SHOWN]]


def watch_training(images, labels, recipe):
    """Train; return steps, the first layer's filters float32 [moments,K,K,F], and all losses."""
    steps = len(images) // recipe.batch_size * recipe.epochs
    model, kernels, losses = ex02.training_graph(recipe, steps), [], []
    # One thread: the same filters on any number of cores.
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Session(graph=model.graph, config=config) as session:
        session.run(model.initialise)
        for step, (batch, classes) in enumerate(ex02.batches(images, labels, recipe, 0)):
            if step in MOMENTS:
                kernels.append(first_kernels(session))
            feed = {model.images: batch, model.labels: classes, model.training: True}
            losses.append(session.run([model.loss, model.train], feed)[0])
        kernels.append(first_kernels(session))
    return MOMENTS + (steps,), np.stack(kernels), losses


def way(model, session, image):
    """Return (kind, detail, values) of each layer for one image uint8 [28,28], as it is drawn."""
    found = [operation for operation in model.graph.get_operations() if operation.type in KINDS]
    values = session.run([operation.outputs[0] for operation in found],
                         {model.images: image[np.newaxis]})
    layers = [("Image", "", image)]
    for operation, value in zip(found, values):
        kind = KINDS[operation.type] if value.ndim == 4 or operation.type == "Softmax" else (
            "Flatten, dense")
        kernel = (operation.inputs[1].shape.as_list()[:2] if operation.type == "Conv2D" else
                  operation.get_attr("ksize")[1:3] if operation.type == "MaxPool" else None)
        layers.append((kind, " %d×%d" % tuple(kernel) if kernel else "", value[0]))
    return layers


def main():
    parser = console.Parser(description=__doc__.splitlines()[0])
    add_output_dir(parser)
    folder = console.writable_folder(parser.parse_args().output_dir)
    from figures.ex02 import draw_architecture, draw_learning, draw_learnt_filters
    training_set, (images, labels) = ex02.load_data()
    model, session, _ = ex02.load_network(ex02.RELEASE)
    boot = images[int(np.argmax(labels == ex02.CLASS_NAMES.index("Ankle boot")))]
    with session:
        after = first_kernels(session)
        layers = way(model, session, boot)
    kinds, numbers = zip(*named_filters(after))
    draw_learnt_filters(kinds, untrained(after.shape[-1])[..., numbers], after[..., numbers],
                        os.path.join(folder, "ex02_filters.png"))
    for language, name in (("en", "ex02_architecture.png"), ("fr", "fr_architecture.png")):
        draw_architecture(layers, ex02.CLASS_NAMES, os.path.join(folder, name), language)
    steps, kernels, losses = watch_training(*training_set, recipe=SHORT)
    best = dict(reversed(named_filters(kernels[-1])))  # of each kind
    draw_learning(steps, kernels[..., list(best.values())], losses,
                  os.path.join(folder, "fr_apprentissage.png"))
    console.say("Drew the four pictures in %s" % folder)


if __name__ == "__main__":
    console.run(main)
