"""Draw what exercise 2 learns, from the released weights and from a short training of its own.

    python tools/draw_network.py      images/ex02_filters.png, ex02_architecture.png, and in French
                                      fr_architecture.png and fr_apprentissage.png

Filters of the first layer before and after training; one garment's way through all layers, which
are read off the graph that computes predictions; three filters at several moments of a training.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib", "tf_keras")

import dataclasses

import numpy as np

import ex02_fashion_cnn as ex02
from support import console
from support.arguments import add_output_dir, file_path
from support.tf1 import tf

KINDS = {"Conv2D": "Convolution", "MaxPool": "Max-pooling", "Relu": "Normalise, ReLU",
         "Softmax": "Output, softmax"}
SHOWN = 2  # filters of each kind
# A small network, so that six epochs take a minute.
SHORT = dataclasses.replace(ex02.Recipe(), epochs=6, filters=(12, 24, 48), dense_units=64,
                            precision="float32")
MOMENTS = 0, 150, 300, 450, 700  # steps after which the filters are drawn, and the end


def first_kernels(session):
    """Return the filters of the first convolution, float32 [K,K,F]."""
    kernel, = [operation.inputs[1] for operation in session.graph.get_operations()
               if operation.type == "Conv2D"][:1]
    return session.run(kernel)[:, :, 0]


def untrained(recipe):
    """Return the filters of the first layer as a training starts with them, float32 [K,K,F]."""
    model = ex02.training_graph(dataclasses.replace(recipe, precision="float32"), steps=1)
    with tf.Session(graph=model.graph) as session:
        session.run(model.initialise)
        return first_kernels(session)


def templates(side):
    """Return (name, float [K,K] of mean 0 and norm 1) of ideal edges, stripes and spots."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    square = x ** 2 + y ** 2
    found = [("spot", (1 - square / 2) * np.exp(-square / 2))]
    for angle in np.deg2rad(range(0, 180, 15)):
        across = x * np.cos(angle) + y * np.sin(angle)
        found += [("edge", across * np.exp(-square / 3.4)),
                  ("stripe", (1 - across ** 2 / 1.2) * np.exp(-across ** 2 / 2.4))]
    return [(name, (values - values.mean()) / np.linalg.norm(values - values.mean()))
            for name, values in found]


def named_filters(kernels):
    """Return (name, number) of the filters that are most like an edge, a spot and a stripe.

    Args:
        kernels: float [K,K,F].
    """
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
    with tf.Session(graph=model.graph, config=config) as session, console.progress(
            steps, "step") as bar:
        session.run(model.initialise)
        for step, (batch, classes) in ex02.batches(images, labels, recipe, 0):
            if step in MOMENTS:
                kernels.append(first_kernels(session))
            feed = {model.images: batch, model.labels: classes, model.training: True}
            losses.append(session.run([model.loss, model.train], feed)[0])
            bar.update()
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
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=file_path, default=ex02.RELEASE,
                        help="Folder of the weights that are drawn (default: checkpoints/fashion).")
    add_output_dir(parser)
    parser.add_argument("--data-dir", metavar="DIR", type=file_path,
                        help="Folder of the Fashion-MNIST files (default: $KERAS_HOME, else "
                             "~/.keras).")
    given = parser.parse_args()
    console.writable_folder(given.output_dir)
    from figures.ex02 import draw_architecture, draw_learning, draw_learnt_filters
    training_set, (images, labels) = ex02.load_data(given.data_dir)
    model, session, _ = ex02.load_network(given.checkpoint_dir)
    boot = images[int(np.argmax(labels == ex02.CLASS_NAMES.index("Ankle boot")))]
    with session:
        after = first_kernels(session)
        before = untrained(dataclasses.replace(ex02.Recipe(), filters=after.shape[-1:] * 3))
        kinds, numbers = zip(*named_filters(after))
        draw_learnt_filters(kinds, [before[..., number] for number in numbers],
                            [after[..., number] for number in numbers],
                            os.path.join(given.output_dir, "ex02_filters.png"))
        layers = way(model, session, boot)
    for language, name in (("en", "ex02_architecture.png"), ("fr", "fr_architecture.png")):
        draw_architecture(layers, ex02.CLASS_NAMES, os.path.join(given.output_dir, name), language)
    steps, kernels, losses = watch_training(*training_set, recipe=SHORT)
    numbers = dict(reversed(named_filters(kernels[-1]))).values()  # the best of each kind
    draw_learning(steps, np.stack([kernels[..., number] for number in numbers]), losses,
                  os.path.join(given.output_dir, "fr_apprentissage.png"))
    console.say("Drew ex02_filters.png, ex02_architecture.png, fr_architecture.png and "
                "fr_apprentissage.png in %s" % given.output_dir)


if __name__ == "__main__":
    console.run(main)
