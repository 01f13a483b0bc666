"""Measure training and inference on this machine: python -m ex03_cifar.benchmark

Images per second mean little on another machine. One large convolution, timed in the same run, is
the best that TensorFlow reaches there: the percentage of it shows what a recipe leaves unused.
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("tf_keras")

import argparse
import functools
import time
from collections import defaultdict
from dataclasses import replace

import numpy as np

from ex03_cifar import operations, winograd
from ex03_cifar.augment import training_batch
from ex03_cifar.graph import build
from ex03_cifar.network import flops, kernels
from ex03_cifar.recipes import RECIPES
from support import console
from support.arguments import file_path, whole_number
from support.tf1 import fastest, tf

CONVOLUTION = dict(images=256, side=16, channels=256)  # 3x3, as many filters as channels
INFERRED = 500  # images at a time
TRAINING = 3  # times the FLOPs of inference: forward, gradients of the images and of the kernels


def convolution(precision, images, side, channels):
    """Return (run, GFLOP): a function that computes one large 3x3 convolution, and its cost."""
    with tf.Graph().as_default() as graph:
        signal, kernel = [
            tf.Variable(tf.random_normal(shape, dtype=precision, seed=0))
            for shape in ([images, side, side, channels], [3, 3, channels, channels])]
        operation = tf.nn.conv2d(signal, kernel, strides=[1, 1, 1, 1], padding="SAME").op
        session = tf.Session(graph=graph)
        session.run(tf.global_variables_initializer())
    return (lambda: session.run(operation)), 2e-9 * images * side ** 2 * 9 * channels ** 2


def network(recipe):
    """Return (train, infer): functions that train one step, and that infer INFERRED images.

    The images are noise, which takes as long as pictures, and of full size; augmentation is part
    of the step.
    """
    rng = np.random.RandomState(0)
    size = recipe.batch_size
    count = max(size, INFERRED)
    images = rng.randint(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    labels = rng.randint(0, 10, count).astype(np.int32)
    with tf.Graph().as_default() as graph:
        model = build(recipe, 1000000, rng.normal(size=(2, 2, 3, 24)).astype(np.float32))
    session = tf.Session(graph=graph)
    session.run(model.initialise)

    def train(**traced):
        batch = training_batch(images[:size], np.arange(size) % 2 == 0, recipe, 1, rng)
        session.run([model.train, model.losses, model.loss, model.correct],
                    {model.images: batch, model.labels: labels[:size],
                     model.targets: np.eye(10)[labels[:size]]}, **traced)

    def infer():
        session.run(model.logits, {model.images: images[:INFERRED]})
    return train, infer


def run_flops(recipe):
    """Return the floating-point operations of a whole training run, as `network.flops` counts."""
    seen = recipe.schedule.epoch_ends[-1] * recipe.batch_size
    image = sum((stage.end - stage.begin) * flops(recipe.widths, recipe.convolutions, stage.side)
                for stage in recipe.schedule.stages)
    return TRAINING * seen * image


def measure(functions, seconds):
    """Time several functions in turns; return the median seconds of each, a list.

    In turns, because the speed of a shared machine changes from one minute to the next.
    """
    for function in functions:
        function()
        function()  # the second call still allocates memory
    taken = [[] for _ in functions]
    end = time.monotonic() + seconds
    with console.progress(seconds, "s") as bar:
        while time.monotonic() < end or len(taken[0]) < 3:
            for function, times in zip(functions, taken):
                began = time.monotonic()
                function()
                times.append(time.monotonic() - began)
            bar.update(int(min(seconds, seconds - end + time.monotonic())) - bar.n)
    return [float(np.median(times)) for times in taken]


def layers(recipe):
    """Return (side, channels, filters) of the 3x3 convolutions in a recipe's stages, each once."""
    found = [(side,) + shape[2:] for stage in reversed(recipe.schedule.stages)
             for side, shape in kernels(recipe.widths, recipe.convolutions, stage.side)
             if shape[:2] == (3, 3)]
    return list(dict.fromkeys(found))


def algorithms(count, side, channels, filters, precision):
    """Return functions that compute a convolution of `count` images.

    As TensorFlow does by default, and that with its two gradients; then both in the way that
    `operations` has for it, in float32 Winograd's algorithm for any number of channels.
    """
    ours = winograd.convolution if precision == "float32" else functools.partial(
        operations.convolution, name="ours", large_batch=True)
    with tf.Graph().as_default() as graph:
        images, kernel, upstream = [
            tf.Variable(tf.cast(tf.random_normal(shape, seed=0), precision)).read_value()
            for shape in ([count, side, side, channels], [3, 3, channels, filters],
                          [count, side, side, filters])]
        fetches = []
        for y in (tf.nn.conv2d(images, kernel, strides=[1, 1, 1, 1], padding="SAME"),
                  ours(images, kernel)):
            gradients = tf.gradients(y, [images, kernel], upstream)
            fetches += [[y.op], [y.op] + [gradient.op for gradient in gradients]]
        session = tf.Session(graph=graph)
        session.run(tf.global_variables_initializer())
    return [functools.partial(session.run, fetch) for fetch in fetches]


def print_layers(recipe, precision, seconds):
    """Print what each convolution of a recipe takes either way."""
    shapes = layers(recipe)
    print("Milliseconds for batches of %d in %s: a convolution alone, and with its gradients.\n"
          % (recipe.batch_size, precision))
    line = "%-22s" + 6 * "%9s"
    print(line % ("", "direct", "ours", "", "direct", "ours", ""))
    for side, channels, filters in shapes:
        functions = algorithms(recipe.batch_size, side, channels, filters, precision)
        direct, direct_all, ours, ours_all = [
            1e3 * spent for spent in measure(functions, seconds / len(shapes))]
        print(line % ("%dx%d, %d -> %d" % (side, side, channels, filters),
                      "%.0f" % direct, "%.0f" % ours, "x %.2f" % (direct / ours),
                      "%.0f" % direct_all, "%.0f" % ours_all, "x %.2f" % (direct_all / ours_all)))


def timeline(train, stream):
    """Trace one training step and write it for chrome://tracing.

    Args:
        train: as `network` returns it.
        stream: a text file.
    Returns:
        (type of operation, milliseconds over all threads) of each, a list, longest first.
    """
    from tensorflow.python.client.timeline import Timeline  # there is no public name for it
    metadata = tf.RunMetadata()
    train(options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)
    stream.write(Timeline(metadata.step_stats).generate_chrome_trace_format())
    kinds = defaultdict(float)
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            label = node.timeline_label  # "name = Kind(inputs)"
            kind = label.split(" = ")[1].split("(")[0] if " = " in label else node.node_name
            kind = kind.replace("_MklNative", "").replace("_Mkl", "")  # oneDNN's version of it
            kinds[kind] += node.op_end_rel_micros / 1e3
    return sorted(kinds.items(), key=lambda item: -item[1])


def table(kinds, least=0.01):
    """Return the result of `timeline` as lines; types below `least` of all are summed up."""
    total = sum(spent for _, spent in kinds)
    shown = [(kind, spent) for kind, spent in kinds if spent >= least * total]
    rest = total - sum(spent for _, spent in shown)
    return ["%-44s %8.1f ms %5.1f %%" % (kind, spent, 100 * spent / total)
            for kind, spent in shown + [("others", rest)]]


def parse(arguments):
    """Return the command line's options as an `argparse.Namespace`."""
    parser = argparse.ArgumentParser(
        prog="python -m ex03_cifar.benchmark",
        description="Measure training and inference: images per second, GFLOP per second, and the "
                    "percentage of what one large convolution reaches on this machine.")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="fast",
                        help="Recipe of the network (default: %(default)s).")
    parser.add_argument("--precision", choices=("float32", "bfloat16"),
                        help="Precision of training that is measured besides float32, and of "
                             "--layers (default: the faster one on this processor).")
    parser.add_argument("--seconds", type=whole_number(1, 86400), default=60,
                        help="Duration of the measurement (default: %(default)s).")
    parser.add_argument("--timeline", metavar="JSON", type=file_path,
                        help="Trace one training step into this file, for chrome://tracing, and "
                             "print where its time goes (default: no trace).")
    parser.add_argument("--layers", action="store_true",
                        help="Measure single convolutions instead, by TensorFlow's direct "
                             "algorithm and as they are computed here: in float32 by Winograd's, "
                             "in bfloat16 with small images side by side and kernel gradients "
                             "as matrix products.")
    return parser.parse_args(arguments)


def main(arguments=None):
    given = parse(arguments)
    try:
        trace = open(given.timeline, "w", encoding="utf-8") if given.timeline else None
    except OSError as error:  # before a minute of measuring, not after
        raise console.UserError("--timeline %s cannot be written: %s."
                                % (given.timeline, console.reason(error)))
    recipe = RECIPES[given.recipe]
    chosen = given.precision or fastest(recipe.precision)
    if given.layers:
        return print_layers(recipe, chosen, given.seconds)
    names = list(dict.fromkeys(["float32", chosen]))  # float32 first, each once
    alone = [convolution(name, **CONVOLUTION) for name in names]
    networks = [network(replace(recipe, precision=name)) for name in names]
    seconds = measure([run for run, _ in alone] + [train for train, _ in networks]
                      + [networks[0][1]], given.seconds)
    image = flops(recipe.widths, recipe.convolutions) / 1e9
    best = {name: cost / spent for name, (_, cost), spent in zip(names, alone, seconds)}
    print("The %s network: %.0f MFLOP per image in inference, %.0f in training."
          % (given.recipe, 1e3 * image, 1e3 * TRAINING * image))
    print("Its training: %d epochs, %.2f PFLOP." % (recipe.epochs, run_flops(recipe) / 1e15))
    print("The convolution: 3x3, %(channels)d -> %(channels)d channels, %(images)d images of "
          "%(side)dx%(side)d pixels.\n" % CONVOLUTION)
    line = "%-40s %8s %8s %8s"
    print(line % ("", "images/s", "GFLOP/s", "percent"))
    for name in names:
        print(line % ("the convolution alone, %s" % name, "", "%.0f" % best[name], "100 %"))
    rows = [("training", name, recipe.batch_size, TRAINING * image) for name in names]
    rows += [("inference", "float32", INFERRED, image)]
    for (name, kind, count, cost), spent in zip(rows, seconds[len(names):]):
        reached = count * cost / spent
        print(line % ("%s, %s, batches of %d" % (name, kind, count), "%.0f" % (count / spent),
                      "%.0f" % reached, "%.0f %%" % (100 * reached / best[kind])))
    if trace:
        with trace:
            kinds = timeline(networks[names.index(chosen)][0], trace)
        print("\nWhere the time of a training step in %s goes, summed over all threads:" % chosen)
        print("\n".join(table(kinds)))
        print("\nWrote %s." % given.timeline)


if __name__ == "__main__":
    console.run(main)
