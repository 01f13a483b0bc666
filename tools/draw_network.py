"""Draw what exercise 2 has learnt: images/ex02_filters.png and images/ex02_architecture.png.

    python tools/draw_network.py

The first layer's filters before and after training, beside those that exercise 1 makes by hand;
and one garment's way through all layers, which are read off the graph that answers.
"""
import argparse
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import ex01_filters  # noqa: E402, after the path
import ex02_fashion_cnn as ex02  # noqa: E402
from support import console, network_drawings  # noqa: E402
from support.tf1 import tf  # noqa: E402

KINDS = {"Conv2D": "Convolution", "MaxPool": "Max-pooling", "MatMul": "Dense"}


def first_kernels(session):
    """Return the filters of the first convolution, a list of float [K,K]."""
    kernel, = [operation.inputs[1] for operation in session.graph.get_operations()
               if operation.type == "Conv2D"][:1]
    return list(np.moveaxis(session.run(kernel)[:, :, 0], -1, 0))


def untrained(filters):
    """Return the first layer's filters before training, of as many as `filters`."""
    recipe = ex02.dataclasses.replace(ex02.Recipe(), filters=(filters, 1, 1))
    with ex02.inference_graph(recipe).graph.as_default() as graph, tf.Session(graph=graph) as session:
        session.run(tf.global_variables_initializer())
        return first_kernels(session)


def way(model, session, image):
    """Return (what it is, the shape in words, values) of each layer for one image uint8 [28,28]."""
    found = [operation for operation in model.graph.get_operations() if operation.type in KINDS]
    values = session.run([operation.outputs[0] for operation in found] + [model.probabilities],
                         {model.images: image[np.newaxis]})
    layers = [("A picture", in_words(image.shape), image)]
    for operation, value in zip(found[:-1], values):
        kind = KINDS[operation.type]
        if operation.type == "Conv2D":
            kind += " " + in_words(operation.inputs[1].shape.as_list()[:2])
        layers.append((kind, in_words(value.shape[1:]), value[0]))
    return layers + [("Output, softmax", in_words(values[-1].shape[1:]), values[-1][0])]


def in_words(shape):
    return "×".join(map(str, shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint-dir", default=ex02.RELEASE, help="the released weights")
    parser.add_argument("--output-dir", metavar="DIR", default=console.IMAGES,
                        help="where to draw (default: images/)")
    given = parser.parse_args()
    _, (images, labels) = ex02.load_data()
    model, session, _ = ex02.load_network(given.checkpoint_dir)
    boot = images[int(np.argmax(labels == ex02.CLASS_NAMES.index("Ankle boot")))]
    with session:
        after = first_kernels(session)
        by_hand = [ex01_filters.HORIZONTAL_FILTER, ex01_filters.VERTICAL_FILTER]
        network_drawings.draw_learnt_filters(
            by_hand, untrained(len(after)), after, os.path.join(given.output_dir, "ex02_filters.png"))
        network_drawings.draw_way(way(model, session, boot), ex02.CLASS_NAMES,
                                  os.path.join(given.output_dir, "ex02_architecture.png"))
    print("drew ex02_filters.png and ex02_architecture.png in %s" % given.output_dir)


if __name__ == "__main__":
    console.run(main)
