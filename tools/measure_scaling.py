"""Predict the speed of several machines: python tools/measure_scaling.py --recipe fast

Measures a training step of this machine, and the exchange of two processes on its loopback address;
computes from both a step of several such machines on networks of several speeds.
"""
import argparse
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ex03_cifar import benchmark, cluster  # noqa: E402, the path is set above
from ex03_cifar.graph import build  # noqa: E402
from ex03_cifar.recipes import RECIPES  # noqa: E402
from support import console  # noqa: E402
from support.arguments import whole_number  # noqa: E402
from support.tf1 import fastest, tf  # noqa: E402

MACHINES = 2, 4, 8, 16, 32
NETWORKS = 1, 10, 25  # Gbit/s
IMAGE_BYTES = 32 * 32 * 3


def exchanged(recipe):
    """Return (sizes of the trained variables, a list; number of dependent small sums per step).

    Each batch normalisation needs a sum over all shards, and its gradient another one.
    """
    with tf.Graph().as_default():
        build(recipe, 100, np.zeros((2, 2, 3, 24), np.float32))
        sizes = [variable.shape.num_elements() for variable in tf.trainable_variables()]
        normalisations = [v for v in tf.global_variables() if v.name.endswith("moving_mean:0")]
    return sizes, 2 * len(normalisations)


def exchange(sizes, dtype, seconds):
    """Return the seconds in which two processes exchange (variables of these sizes, one number).

    As in a step, they pass from task 0 to the worker, and as much comes back.
    """
    cluster.quiet_libraries()
    options, streams = SimpleNamespace(processes=2, cluster_timeout=60), []
    with cluster.local_workers(options) as (addresses, threads, children):
        cluster.meet(addresses, 60, children, streams)
        server = cluster.serve(addresses, 0, threads)
        with tf.Graph().as_default() as graph, tf.device(cluster.DEVICE % 0):
            operations = []
            for shapes in sizes, [1]:
                variables = [tf.Variable(tf.ones([size], dtype)) for size in shapes]
                with tf.device(cluster.DEVICE % 1):
                    there = [variable + 1 for variable in variables]
                operations.append(tf.group(*[variable.assign(tensor) for variable, tensor
                                             in zip(variables, there)]))
            initialise = tf.global_variables_initializer()
        with tf.Session(server.target, graph=graph) as session:
            session.run(initialise)
            return benchmark.measure([lambda operation=operation: session.run(operation)
                                      for operation in operations], seconds)


def step_seconds(recipe, seconds):
    """Return (seconds per step for any batch size, seconds per image) of this machine.

    The former are Muon's for the most part, which task 0 computes alone. Both follow from the
    duration of steps with the whole and with half the batch size.
    """
    half = replace(recipe, batch_size=recipe.batch_size // 2)
    whole, halved = benchmark.measure(
        [benchmark.network(recipe)[0], benchmark.network(half)[0]], seconds)
    image = (whole - halved) / (recipe.batch_size - half.batch_size)
    return whole - image * recipe.batch_size, image


def predicted(machines, gigabits, fixed, images, variables, batch, copying, sums, message):
    """Return the seconds per step of several machines.

    Everything passes task 0's link: the variables to each worker, as much back, and the images.

    Args:
        fixed, images: seconds of one machine for task 0's own work and for the batch.
        variables, batch: bytes of the trained variables and of a batch of images.
        copying: seconds per byte in the processes, without the network.
        sums, message: number of dependent small sums, and the seconds of one with one worker.
    """
    workers = machines - 1
    sent = 2 * workers * variables + batch * workers / machines
    return (fixed + images / machines + workers * sums * message
            + sent * (copying + 8e-9 / gigabits))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="fast",
                        help="Recipe of the network (default: %(default)s).")
    parser.add_argument("--seconds", type=whole_number(1, 15), default=10,
                        help="Duration of each of two measurements (default: %(default)s).")
    given = parser.parse_args(arguments)
    recipe = RECIPES[given.recipe]
    recipe = replace(recipe, precision=fastest(recipe.precision))
    sizes, sums = exchanged(recipe)
    taken, message = exchange(sizes, recipe.precision, given.seconds)
    fixed, image = step_seconds(recipe, given.seconds)
    images, variables = image * recipe.batch_size, sum(sizes) * tf.as_dtype(recipe.precision).size
    copying = max(0, taken - message) / (2 * variables)
    print("%s, a step of %d images of full size, %s:"
          % (given.recipe, recipe.batch_size, recipe.precision))
    print("one machine: %.0f ms, of which %.0f ms do not depend on the batch"
          % (1e3 * (fixed + images), 1e3 * fixed))
    print("two processes exchange %.2f MB in each direction in %.1f ms, one number in %.2f ms; %d "
          "small sums depend on one another" % (1e-6 * variables, 1e3 * taken, 1e3 * message, sums))
    print("\ncomputed: ms per step, times as fast as one machine, percentage of N times")
    print("%-9s" % "machines" + "".join("%22s" % ("%d Gbit/s" % speed) for speed in NETWORKS))
    for machines in MACHINES:
        cells = []
        for speed in NETWORKS:
            step = predicted(machines, speed, fixed, images, variables,
                             recipe.batch_size * IMAGE_BYTES, copying, sums, message)
            gain = (fixed + images) / step
            cells.append("%8.0f %6.2f %5.0f %%" % (1e3 * step, gain, 100 * gain / machines))
        print("%-9d" % machines + "".join(cells))


if __name__ == "__main__":
    console.run(main)
