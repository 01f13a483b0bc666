"""Command lines: types of options, the options of every training, and recipes.

A recipe is a frozen dataclass of hyper-parameters. Each field has its value, range and help text
from `setting`: an option is made of them, and the dataclass checks itself by them.
"""
import argparse
import contextlib
import dataclasses
import glob
import math
import os
import re

from support.console import IMAGES, REPOSITORY

PICTURES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp",
            ".dib", ".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif",
            ".hif")  # how the names of pictures end


def number(low, high=math.inf, kind=float):
    """Return an argparse type: a finite number of this kind (float, int) from `low` to `high`."""
    expected = "expected a %s %s" % (
        "whole number" if kind is int else "number",
        "of at least %s" % low if high == math.inf else "from %s to %s" % (low, high))

    def convert(text):
        with contextlib.suppress(ValueError):
            if low <= kind(text) <= high and kind(text) < math.inf:
                return kind(text)
        raise argparse.ArgumentTypeError("%s, got %r" % (expected, text))
    return convert


def whole_number(low, high=math.inf):
    """Return an argparse type: an int from `low` to `high`."""
    return number(low, high, int)


def word(*words):
    """Return an argparse type: one of `words`."""
    def convert(text):
        if text not in words:
            raise argparse.ArgumentTypeError("expected %s, got %r" % (" or ".join(words), text))
        return text
    return convert


def file_path(text):
    """An argparse type: the path of a file or folder, which need not exist."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return text


def checkpoint_folder(text):
    """An argparse type: the folder of a checkpoint, or its prefix as `tf.train.Saver` has it."""
    folder, name = os.path.split(file_path(text))
    is_prefix = re.match(r"weights-[0-9a-f]{12}(\.|$)", name) and not os.path.isdir(text)
    return (folder or ".") if is_prefix else text


def named_pictures(words):
    """Return the paths of the pictures that the words of a command line name.

    A folder stands for the pictures in it and below, as their endings show, in order of names and
    without hidden ones; where there are none, for itself. A pattern (`photos/*.jpg`, `photos/**`)
    stands for the pictures that match, or else for whatever does.
    """
    paths = []
    for word in words:
        matches = [] if os.path.lexists(word) else sorted(glob.glob(word, recursive=True))
        for path in [path for path in matches if _is_picture(path)] or matches or [word]:
            paths += _pictures_below(path) if os.path.isdir(path) else [path]
    return paths


def _pictures_below(folder):
    paths = []  # of subfolders that cannot be read, too
    for parent, folders, names in os.walk(folder, onerror=lambda e: paths.append(e.filename)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [os.path.join(parent, name) for name in names if _is_picture(name)]
    return sorted(paths) or [folder]


def _is_picture(path):
    name = os.path.basename(path).lower()
    return name.endswith(PICTURES) and not name.startswith(".")


def add_output_dir(parser):
    """Add the folder of a program that draws the pictures of `images/`."""
    parser.add_argument("--output-dir", metavar="DIR", type=file_path, default=IMAGES,
                        help="Folder to write to; files of the same name are replaced (default: "
                             "images/).")


def checkpoint_folders(name):
    """Return the folders of the released weights `name` and of the weights that people train."""
    folder = os.path.join(REPOSITORY, "checkpoints")
    return os.path.join(folder, name), os.path.join(folder, "runs", name)


def choose_folders(options, default, release, run):
    """Complete the folders of parsed options: pictures are not drawn among the released weights."""
    options.checkpoint_dir = options.checkpoint_dir or default
    released = os.path.realpath(options.checkpoint_dir) == os.path.realpath(release)
    options.output_dir = options.output_dir or (run if released else options.checkpoint_dir)


def add_training_options(parser, run, data):
    """Add what every training has, `run` being its default folder; return the group of modes."""
    option, modes = parser.add_argument, parser.add_mutually_exclusive_group()
    option("--data-dir", metavar="DIR", type=file_path,
           help="Folder of %s (default: in $KERAS_HOME, else in ~/.keras, where Keras downloads it "
                "if need be)." % data)
    option("--checkpoint-dir", metavar="DIR", type=checkpoint_folder,
           help="Folder of the weights and of the training state (default: %s)."
                % os.path.relpath(run, REPOSITORY))
    option("--init", metavar="DIR", type=checkpoint_folder,
           help="Begin with the weights in this folder, of a network of the same shape, instead of "
                "random ones.")
    option("--teachers", metavar="DIR", type=checkpoint_folder, nargs="+", default=[],
           help="Learn from the labels and from the mean of these networks' probabilities: folders "
                "of weights (see --distillation).")
    option("--output-dir", metavar="DIR", type=file_path,
           help="Folder of the pictures (default: that of the weights; of the released ones %s)."
                % os.path.relpath(run, REPOSITORY))
    option("--logdir", metavar="DIR", type=file_path,
           help="Folder for TensorBoard (default: none).")
    option("--save-every", metavar="SECONDS", type=number(0), default=120,
           help="Longest time between two saved training states (default: %(default)s).")
    modes.add_argument("--fresh", action="store_true",
                       help="Start over and discard an interrupted training.")
    modes.add_argument("--release", action="store_true",
                       help="Do not train: make the weights in --checkpoint-dir the released ones.")
    return modes


# ---- Recipes ----

def setting(default, allowed, text, nargs=None):
    """Return the dataclass field of a hyper-parameter.

    Args:
        default: a number, a string or a tuple of numbers.
        allowed: the least and the greatest number, or the strings that may be chosen.
        nargs: "+" or "*" for a tuple of any length; others are as long as `default`.
    """
    several = isinstance(default, tuple)
    first = default[0] if several else default
    kind = word(*allowed) if isinstance(first, str) else number(*allowed, kind=type(first))
    return dataclasses.field(default=default, metadata={
        "type": kind, "help": text, "nargs": nargs or (len(default) if several else None),
        "words": allowed if isinstance(first, str) else ()})


def option_name(field):
    """Return the option of a dataclass field."""
    return "--" + field.name.replace("_", "-")


def check_settings(recipe):
    """Check every field of a recipe, for its `__post_init__`.

    Raises:
        ValueError: a value is out of range; the sentence names its option.
    """
    for field in dataclasses.fields(recipe):
        values, nargs = getattr(recipe, field.name), field.metadata["nargs"]
        values = values if isinstance(values, (tuple, list)) else [values]
        expected = {"*": len(values), "+": max(1, len(values)), None: 1}.get(nargs, nargs)
        if len(values) != expected:
            raise ValueError("%s: expected %d value(s), got %s"
                             % (option_name(field), expected, list(values)))
        for value in values:
            try:
                field.metadata["type"](str(value))
            except argparse.ArgumentTypeError as error:
                raise ValueError("%s: %s" % (option_name(field), error))


def add_recipe_options(parser, recipes, default):
    """Add --recipe, a choice from the dict `recipes`, and an option for each hyper-parameter."""
    parser.add_argument("--recipe", choices=sorted(recipes), default=default,
                        help="Set of hyper-parameters to begin with (default: %(default)s).")
    group = parser.add_argument_group("hyper-parameters", "Each replaces one value of the recipe.")
    for field in dataclasses.fields(recipes[default]):
        values = {name: str(getattr(recipes[name], field.name)).strip("()").replace(",", "")
                  for name in sorted(recipes)}
        text = ", ".join("%s: %s" % pair for pair in values.items())
        if len(set(values.values())) == 1:
            text = "default: %s" % values[default]
        group.add_argument(option_name(field), type=field.metadata["type"],
                           nargs=field.metadata["nargs"],
                           metavar="|".join(field.metadata["words"]) or "N",
                           help="%s (%s)." % (field.metadata["help"], text))


def chosen_recipe(parser, given, recipes):
    """Return the recipe of parsed options; values that contradict one another are wrong usage."""
    recipe = recipes[given.recipe]
    changes = {field.name: getattr(given, field.name) for field in dataclasses.fields(recipe)}
    changes = {name: tuple(value) if isinstance(value, list) else value
               for name, value in changes.items() if value is not None}
    try:
        return dataclasses.replace(recipe, **changes)
    except ValueError as error:
        parser.error(str(error))
