"""What training by several machines costs and gains: python tools/measure_scaling.py --recipe fast

Measures a step of this machine, and on its loopback address the sums that two processes exchange
in a step: how many bytes, and how long that takes without anything else. Then it computes what
follows for more machines of this kind and for several networks.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from ex03_cifar import benchmark  # noqa: E402, the path is set above
from ex03_cifar.cluster import DEVICE, serve  # noqa: E402
from ex03_cifar.graph import build  # noqa: E402
from ex03_cifar.recipes import RECIPES  # noqa: E402
from ex03_cifar.whole_batch import report, totals  # noqa: E402
from support import console  # noqa: E402
from support.arguments import whole_number  # noqa: E402
from support.peers import free_addresses  # noqa: E402
from support.tf1 import fastest, tf  # noqa: E402

MACHINES = 2, 4, 8, 16, 32
NETWORKS = 1, 10, 25  # Gbit/s
STEPS = 20  # of which the exchange is measured


def sums(recipe):
    """Return the sizes of what the processes sum up in a step, float32 numbers, a list."""
    sizes = []

    def record(tensor, name):
        sizes.append(tensor.shape.num_elements())
        return tf.identity(tensor)
    with tf.Graph().as_default():
        model = build(recipe, 100, np.zeros((2, 2, 3, 24), np.float32), record)
        report(record, model, slice(0, recipe.batch_size), recipe.batch_size, tf.constant(0.))
    return sizes


def exchange(sizes):
    """Return (seconds, bytes that both send together, seconds of the smallest sum) of a step.

    Args:
        sizes: as `sums` returns them. Two processes with a processor each exchange them one after
            the other, as the step has to.
    """
    addresses = free_addresses(2)
    cores = sorted(os.sched_getaffinity(0))
    members = [subprocess.Popen(
        ["taskset", "-c", str(cores[task % len(cores)]), sys.executable, os.path.abspath(__file__),
         "--member", json.dumps([addresses, task, sizes])], stdout=subprocess.PIPE)
        for task in range(2)]
    answers = [member.communicate()[0] for member in members]
    return json.loads(answers[0].decode())


def member(addresses, task, sizes):
    """Be one of the two processes of `exchange`; print what it returns."""
    server, config = serve(addresses, task)
    with tf.Graph().as_default() as graph, tf.device(DEVICE % task):
        total, after, smallest = totals(2), [], None
        for number, size in enumerate(sizes):
            with tf.control_dependencies(after):
                after = [total(tf.ones([size]), "sum%d" % number)]
        small = total(tf.ones([min(sizes)]), "small").op
        everything = after[0].op
    with tf.Session(server.target, graph=graph, config=config) as session:
        taken = []
        for operation in everything, small:
            for _ in range(3):
                session.run(operation)
            before, began = loopback_bytes(), time.monotonic()
            for _ in range(STEPS):
                session.run(operation)
            taken.append((time.monotonic() - began) / STEPS)
            if operation is everything:
                sent = (loopback_bytes() - before) / STEPS
        print(json.dumps([taken[0], sent, taken[1]]), flush=True)
        # The other may still wait for this one's part of the last sum.
        time.sleep(1)
        os._exit(0)


def loopback_bytes():
    """Return how many bytes the loopback interface has carried."""
    with open("/proc/net/dev") as stream:
        line, = [line for line in stream if line.strip().startswith("lo:")]
    return int(line.split(":")[1].split()[0])


def step_seconds(recipe, seconds):
    """Return (seconds that a step takes whatever its batch, seconds an image), of this machine.

    The first are Muon's, for the most part, which every process computes for itself. They follow
    from the steps of a whole and of a half batch.
    """
    half = replace(recipe, batch_size=recipe.batch_size // 2)
    whole, halved = benchmark.measure(
        [benchmark.network(recipe)[0], benchmark.network(half)[0]], seconds)
    image = (whole - halved) / (recipe.batch_size - half.batch_size)
    return whole - image * recipe.batch_size, image


def predicted(machines, gigabits, fixed, images, sizes, copying, message):
    """Return the seconds of a step of so many machines.

    A ring of N machines sends each tensor in 2 (N - 1) messages after one another, of 1 / N of
    it (Patarasuk and Yuan 2009); each waits for the one before.

    Args:
        fixed, images: seconds of one machine, for what each repeats and for a whole batch.
        sizes: as `sums` returns them.
        copying: seconds in which a byte passes through the program, without the network.
        message: seconds for the smallest message.
    """
    messages = 2 * (machines - 1)
    sent = 4 * sum(sizes) * messages / machines
    return (fixed + images / machines + messages * len(sizes) * message
            + sent * (copying + 8e-9 / gigabits))


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="fast")
    parser.add_argument("--seconds", type=whole_number(1, 86400), default=60,
                        help="how long to measure steps (default: %(default)s)")
    parser.add_argument("--member", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.member:
        return member(*given.member)
    recipe = RECIPES[given.recipe]
    recipe = replace(recipe, precision=fastest(recipe.precision))
    sizes = sums(recipe)
    taken, sent, small = exchange(sizes)
    fixed, image = step_seconds(recipe, given.seconds)
    images = image * recipe.batch_size
    message = small / 2  # two processes: there and back
    copying = max(0, taken - len(sizes) * small) / (4 * sum(sizes))
    print("%s, a step of %d whole images, %s:"
          % (given.recipe, recipe.batch_size, recipe.precision))
    print("one machine: %.0f ms, of which %.0f ms do not depend on the batch"
          % (1e3 * (fixed + images), 1e3 * fixed))
    print("summed over the processes: %d tensors of %.2f MB in all, the gradients %.2f MB"
          % (len(sizes), 4e-6 * sum(sizes), 4e-6 * max(sizes)))
    print("two processes on the loopback address send %.2f MB a step, each half of it, in %.1f ms; "
          "the smallest sum takes %.2f ms" % (1e-6 * sent, 1e3 * taken, 1e3 * small))
    print("\ncomputed: ms a step, times as fast as one machine, share of N times")
    print("%-9s" % "machines" + "".join("%22s" % ("%d Gbit/s" % speed) for speed in NETWORKS))
    for machines in MACHINES:
        cells = []
        for speed in NETWORKS:
            step = predicted(machines, speed, fixed, images, sizes, copying, message)
            gain = (fixed + images) / step
            cells.append("%8.0f %6.2f %5.0f %%" % (1e3 * step, gain, 100 * gain / machines))
        print("%-9d" % machines + "".join(cells))
    return 0


if __name__ == "__main__":
    console.run(main)
