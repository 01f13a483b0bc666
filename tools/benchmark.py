"""Measure training and inference on this machine: python tools/benchmark.py

One large convolution is the best that TensorFlow reaches there: the percentage of it shows what a
recipe leaves unused. The exchange with a second process is what several cost (docs/scaling.md).
"""
import functools
import os
import sys
import time
from dataclasses import replace

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ex03_cifar import cluster  # noqa: E402, the path is set above
from ex03_cifar.augment import training_batch  # noqa: E402
from ex03_cifar.graph import build  # noqa: E402
from ex03_cifar.network import network  # noqa: E402
from ex03_cifar.recipes import RECIPES  # noqa: E402
from support import console  # noqa: E402
from support.arguments import whole_number  # noqa: E402
from support.ports import free_addresses  # noqa: E402
from support.tf1 import fastest, tf  # noqa: E402

INFERRED, CONVOLVED = 500, 256  # images at a time
TRAINING = 3  # times the FLOPs of inference: forward, gradients of the images and of the kernels


def flops(recipe, side=32):
    """Return the floating-point operations of the inference for one image [side,side,3].

    A multiplication and its addition count as two. All but convolutions and matrix products is left
    out, about one per cent.
    """
    with tf.Graph().as_default() as graph:
        network(tf.zeros([1, side, side, 3], tf.uint8), recipe.widths, recipe.convolutions, False)
    layers = [o for o in graph.get_operations() if o.type in ("Conv2D", "MatMul")]
    return sum(2 * layer.inputs[1].shape.num_elements()
               * np.prod(layer.outputs[0].shape.as_list()[:-1], dtype=int) for layer in layers)


def run_flops(recipe):
    """Return the floating-point operations of a whole training run."""
    image = sum((stage.end - stage.begin) * flops(recipe, stage.side)
                for stage in recipe.schedule.stages)
    return TRAINING * recipe.schedule.epoch_ends[-1] * recipe.batch_size * image


def convolution(precision, side=16, channels=256):
    """Return (run, FLOPs): a function that computes one large 3x3 convolution, and its cost."""
    with tf.Graph().as_default() as graph:
        images, kernel = [tf.Variable(tf.random_normal(shape, dtype=precision)) for shape in (
            [CONVOLVED, side, side, channels], [3, 3, channels, channels])]
        operation = tf.nn.conv2d(images, kernel, strides=[1, 1, 1, 1], padding="SAME").op
        session = tf.Session(graph=graph)
        session.run(tf.global_variables_initializer())
    return functools.partial(session.run, operation), 2 * CONVOLVED * side ** 2 * 9 * channels ** 2


def step_and_inference(recipe):
    """Return functions that train one step, augmentation included, and that infer INFERRED images
    of full size. They are noise, which takes as long as pictures."""
    rng, size = np.random.RandomState(0), recipe.batch_size
    images = rng.randint(0, 256, (max(size, INFERRED), 32, 32, 3)).astype(np.uint8)
    labels = rng.randint(0, 10, size).astype(np.int32)
    with tf.Graph().as_default() as graph:
        model = build(recipe, 1000000, rng.normal(size=(2, 2, 3, 24)).astype(np.float32))
    session = tf.Session(graph=graph)
    session.run(model.initialise)

    def train():
        batch = training_batch(images[:size], np.arange(size) % 2 == 0, recipe, 1, rng)
        session.run([model.train, model.losses, model.loss, model.correct],
                    {model.images: batch, model.labels: labels, model.targets: np.eye(10)[labels]})
    return train, functools.partial(session.run, model.logits, {model.images: images[:INFERRED]})


def exchange(recipe, target):
    """Return (run, bytes): moves the weights to the worker and as much back; bytes of one way."""
    with tf.Graph().as_default() as graph, tf.device(cluster.DEVICE % 0):
        network(tf.zeros([1, 32, 32, 3], tf.uint8), recipe.widths, recipe.convolutions, True)
        weights = [tf.Variable(tf.ones(variable.shape, recipe.precision))
                   for variable in tf.trainable_variables()]
        with tf.device(cluster.DEVICE % 1):
            there = [weight + 1 for weight in weights]
        back = tf.group(*[weight.assign(result) for weight, result in zip(weights, there)])
        session = tf.Session(target, graph=graph)
        session.run(tf.variables_initializer(weights))
    size = sum(weight.shape.num_elements() * weight.dtype.size for weight in weights)
    return functools.partial(session.run, back), size


def measure(functions, seconds):
    """Time functions in turns, as a machine's speed changes; return the median seconds of each."""
    for function in 2 * functions:
        function()  # the second call still allocates memory
    taken = [[] for _ in functions]
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(taken[0]) < 3:
        for function, times in zip(functions, taken):
            began = time.monotonic()
            function()
            times.append(time.monotonic() - began)
    return [float(np.median(times)) for times in taken]


def main(arguments=None):
    parser = console.Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="fast",
                        help="Recipe of the network (default: %(default)s).")
    parser.add_argument("--seconds", type=whole_number(1, 86400), default=60,
                        help="Duration of the measurement (default: %(default)s).")
    given = parser.parse_args(arguments)
    recipe = RECIPES[given.recipe]
    image, chosen = flops(recipe), fastest(recipe.precision)
    print("%s: %.0f MFLOP per image in inference; %d epochs of training are %.2f PFLOP."
          % (given.recipe, 1e-6 * image, recipe.epochs, 1e-15 * run_flops(recipe)))
    rows, best = [], {}
    for name in dict.fromkeys(["float32", chosen]):  # each once
        train, infer = step_and_inference(replace(recipe, precision=name))
        cost = TRAINING * recipe.batch_size * image
        rows += [("one large convolution, ", name, CONVOLVED) + convolution(name),
                 ("training, ", name, recipe.batch_size, train, cost)]
    rows.append(("inference, ", "float32", INFERRED, infer, INFERRED * image))
    taken = measure([run for *_, run, _ in rows], given.seconds)
    print("%-34s %8s %8s %8s" % ("", "images/s", "GFLOP/s", "percent"))
    for (label, name, count, _, cost), seconds in zip(rows, taken):
        rate = 1e-9 * cost / seconds
        print("%-34s %8.0f %8.1f %6.0f %%"
              % (label + name, count / seconds, rate, 100 * rate / best.setdefault(name, rate)))
    with cluster.lead(free_addresses(2), processes=2) as target:
        run, size = exchange(replace(recipe, precision=chosen), target)
        print("exchange with a second process, %s: %.2f MB each way in %.0f ms"
              % (chosen, 1e-6 * size, 1e3 * measure([run], min(10, given.seconds))[0]))


if __name__ == "__main__":
    console.run(main)
