"""The command line of training -> a `Recipe` and where the run reads and writes."""
import argparse
import dataclasses
import os
import re

from ex03_cifar import dataset
from ex03_cifar.classifier import RELEASE
from ex03_cifar.recipes import RECIPES, Recipe, Selection, Stage, epoch_steps
from support.console import (UsageError, number, picture_folder, png_path, setting, training_options,
                             whole_number)
from support.tf1 import fastest


def parse(arguments=None):
    """Return (recipe, run) of a command line; `run` is a namespace of the options that are no
    hyper-parameters.

    Raises:
        UsageError: the options contradict one another.
    """
    given = parser().parse_args(arguments)
    recipe = RECIPES[given.recipe]
    recipe = dataclasses.replace(recipe, precision=fastest(recipe.precision))
    changes = {field.name: vars(given).get(field.name) for field in dataclasses.fields(Recipe)}
    changes = {name: value for name, value in changes.items() if value is not None}
    recipe = dataclasses.replace(recipe, **dict(changes, **dict(given.set)))
    if min(epoch_steps(recipe)) < 1:
        raise UsageError(
            "of %d images %d are held out, and what an epoch sees of the rest is less than a batch "
            "of %d: give more --images, or less --validation or --batch-size."
            % (recipe.images, recipe.validation, recipe.batch_size))
    check_cluster(given, recipe.batch_size)
    if given.curves is None:
        given.curves = os.path.join(picture_folder(given.checkpoint_dir, RELEASE),
                                    "ex03_training.png")
    return recipe, given


def check_cluster(given, batch_size):
    """Refuse options for several processes that contradict one another; complete `given.task`."""
    if (given.cluster is None) != (given.task is None):
        raise UsageError("--cluster and --task go together: the first names all machines, the "
                         "second tells which of them this is, counted from 0.")
    if given.cluster and given.processes > 1:
        raise UsageError("--processes starts a cluster of its own: give it, or --cluster.")
    if given.cluster and given.task >= len(given.cluster):
        raise UsageError("--cluster has the tasks 0 to %d, and no %d."
                         % (len(given.cluster) - 1, given.task))
    if max(len(given.cluster or ()), given.processes) > batch_size:
        raise UsageError("a batch of %d has no image for each of the processes." % batch_size)
    given.task = given.task or 0
    if given.task:
        given.logdir = None  # task 0's matter


def parser():
    """Return the `argparse.ArgumentParser` of training."""
    parser = argparse.ArgumentParser(
        prog="python -m ex03_cifar.train",
        description="Train the CIFAR-10 network and release its weights. A run that was stopped "
                    "is continued by the same command.")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="fast",
                        help="the named block of hyper-parameters in ex03_cifar/recipes.py "
                             "(default: %(default)s); the next options change single ones")
    for name, kind, text in (
            ("epochs", whole_number(1), "passes over the images, later ones over the harder part"),
            ("batch-size", whole_number(1), "images in a step"),
            ("learning-rate", number, "of Muon, for the kernels"),
            ("images", whole_number(1, 50000), "training images to use, fewer for a trial"),
            ("validation", whole_number(0), "images held out of these; 0 for none"),
            ("seed", whole_number(0, 2 ** 32 - 1), "of every random number")):
        parser.add_argument("--" + name, type=kind, help="%s (%s)" % (text, in_recipes(name)))
    parser.add_argument("--widths", type=whole_number(1), nargs=3, metavar="FILTERS",
                        action=Tuple, help="of the blocks (%s)" % in_recipes("widths"))
    parser.add_argument("--precision", choices=("float32", "bfloat16"),
                        help="of the computation; the weights are float32 (%s where the processor "
                             "has it)" % in_recipes("precision"))
    training_options(parser, RELEASE, setting(Recipe, stages=stages, selection=selection))
    parser.add_argument("--data-dir", metavar="DIR", default=dataset.default_folder(),
                        help="the CIFAR-10 binary version (default: %(default)s; where that is "
                             "missing Keras downloads its own copy)")
    parser.add_argument("--curves", metavar="PNG", type=png_path,
                        help="the picture of the training curves (default: ex03_training.png in "
                             "images/, with --checkpoint-dir in that folder)")
    parser.add_argument("--fresh", action="store_true",
                        help="start over: forget a run that was stopped")
    several = parser.add_argument_group(
        "several processes", "Each trains its share of every batch, and the sums of all make the "
        "same step everywhere, as of one process. In a private network only: anyone who reaches "
        "the ports can run code there, for TensorFlow's server asks nobody for a password.")
    several.add_argument("--cluster", metavar="HOST:PORT,...", type=addresses,
                         help="the addresses of all processes, the same list for each; start them "
                              "in any order, with the same options and the same code and data")
    several.add_argument("--task", metavar="N", type=whole_number(0),
                         help="which of them this is, from 0. Task 0 validates, saves and "
                              "releases; the others need no --checkpoint-dir: when they start, "
                              "it sends them its state")
    several.add_argument("--cluster-timeout", metavar="SECONDS", type=number, default=300,
                         help="how long to wait for the others (default: %(default)s)")
    several.add_argument("--processes", metavar="N", type=whole_number(1, 64), default=1,
                         help="as many processes on this machine, instead of --cluster; they "
                              "divide the processors (default: %(default)s)")
    return parser


def addresses(text):
    """An argparse type: HOST:PORT,HOST:PORT,... -> a list of at least two, as they are."""
    found = text.split(",")
    for address in found:
        host, _, port = address.rpartition(":")
        whole_number(1, 65535)(port)
        if not re.match(r"[\w.-]+\Z", host):
            raise argparse.ArgumentTypeError("%r is no HOST:PORT" % address)
    if len(set(found)) < max(2, len(found)):
        raise argparse.ArgumentTypeError("%r are not two or more different addresses" % text)
    return found


def in_recipes(name):
    """Return the text of what the recipes have for an option: "fast 19, best 33"."""
    values = [(recipe, getattr(RECIPES[recipe], name.replace("-", "_")))
              for recipe in ("fast", "best")]
    if values[0][1] == values[1][1]:
        return "default: %s" % values[0][1]
    return ", ".join("%s %s" % pair for pair in values)


def stages(value):
    """Tuples of numbers -> `Stage`s."""
    return tuple(Stage(*stage) for stage in value)


def selection(value):
    """A tuple of numbers -> a `Selection`."""
    return Selection(*value)


class Tuple(argparse.Action):
    """Keeps several values as a tuple, as a recipe has them."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, tuple(values))
