"""The command line of training -> a `Recipe` and where the run reads and writes."""
import argparse
import dataclasses
import os

from ex03_cifar import dataset
from ex03_cifar.classifier import RELEASE
from ex03_cifar.recipes import RECIPES, Recipe, Selection, Stage, epoch_steps
from support.console import UsageError, number, picture_folder, png_path, setting, whole_number
from support.tf1 import computes_bfloat16


def parse(arguments=None):
    """Return (recipe, run) of a command line; `run` is a namespace of the options that are no
    hyper-parameters.

    Raises:
        UsageError: the options contradict one another.
    """
    given = parser().parse_args(arguments)
    recipe = RECIPES[given.recipe]
    if not computes_bfloat16():  # where it would be slower than float32
        recipe = dataclasses.replace(recipe, precision="float32")
    changes = {field.name: vars(given).get(field.name) for field in dataclasses.fields(Recipe)}
    changes = {name: value for name, value in changes.items() if value is not None}
    recipe = dataclasses.replace(recipe, **dict(changes, **dict(given.set)))
    if min(epoch_steps(recipe)) < 1:
        raise UsageError(
            "of %d images %d are held out, and what an epoch sees of the rest is less than a batch "
            "of %d: give more --images, or less --validation or --batch-size."
            % (recipe.images, recipe.validation, recipe.batch_size))
    if given.curves is None:
        given.curves = os.path.join(picture_folder(given.checkpoint_dir, RELEASE),
                                    "ex03_training.png")
    return recipe, given


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
    parser.add_argument("--set", metavar="NAME=VALUE", action="append",
                        default=[], type=setting(Recipe, stages=stages, selection=selection),
                        help="any other hyper-parameter of the recipe, as a Python value; "
                             "may be given more than once")
    parser.add_argument("--save-every", type=number, default=120, metavar="SECONDS",
                        help="the time between two saved states (default: %(default)s)")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=os.path.abspath, default=RELEASE,
                        help="for the released weights and, below it, the training state "
                             "(default: %(default)s)")
    parser.add_argument("--data-dir", metavar="DIR", default=dataset.default_folder(),
                        help="the CIFAR-10 binary version (default: %(default)s; where that is "
                             "missing Keras downloads its own copy)")
    parser.add_argument("--logdir", metavar="DIR", help="for TensorBoard (default: none)")
    parser.add_argument("--curves", metavar="PNG", type=png_path,
                        help="the picture of the training curves (default: ex03_training.png in "
                             "images/, with --checkpoint-dir in that folder)")
    parser.add_argument("--fresh", action="store_true",
                        help="start over: forget a run that was stopped")
    return parser


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
