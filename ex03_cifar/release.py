"""What becomes of finished trainings: an ensemble, a release, and their curves drawn again."""
import dataclasses
import glob
import os
import pathlib
import re

from ex03_cifar.classifier import (GRAPH, LARGE_BATCH_GRAPH, RELEASE, Classifier,
                                   network_prefix)
from ex03_cifar.recipes import Recipe
from support import checkpoint
from support.console import say
from support.reports import read_notes


def release(folder):
    """Verify the weights in `folder` and make them the released ones.

    Raises:
        checkpoint.CheckpointError: they are missing, damaged or of another network.
    """
    put_together([folder], RELEASE, expected=(".json",))
    say("Released the weights of %s. To draw their pictures: "
        "python -m ex03_cifar.evaluate --output-dir images" % folder)


def put_together(folders, destination, expected=()):
    """Write the networks of the checkpoints in `folders` as one checkpoint; return their number.

    Args:
        destination: the folder to write to, which may be one of these.
        expected: the file name endings that the checkpoints must have besides the graphs.
    Raises:
        checkpoint.CheckpointError: one is missing, damaged or of another network, or the new one
            cannot be written.
    """
    found = [Classifier(folder, exact=True) for folder in folders]
    for network in found:
        for number in range(2, 1 + network.networks):
            network.other(number)  # which fails if it is not of this kind
    networks = [files for folder in folders for files in read_networks(folder, expected)]
    first, notes = found[0], {}
    for number, files in enumerate(networks, 1):
        notes.update((network_prefix("", number) + ending, content)
                     for ending, content in files.items()
                     if number > 1 or ending not in checkpoint.SAVER_FILES)
    checkpoint.save(destination, first.session, first.saver, notes)
    return len(networks)


def read_networks(folder, expected=()):
    """Return the files of each network of a checkpoint, a list of dicts of ending to bytes."""
    def read(prefix):
        networks = {}
        for path in glob.glob(glob.escape(prefix) + ".*"):
            number, ending = re.match(r"(?:\.(\d+))?(\..*)", path[len(prefix):]).groups()
            networks.setdefault(int(number or 1), {})[ending] = pathlib.Path(path).read_bytes()
        return [files for _, files in sorted(networks.items())]

    return checkpoint.load(folder, read, (GRAPH, LARGE_BATCH_GRAPH) + expected)


def draw_curves(folder, path):
    """Draw the training curves of the weights in `folder`; return whether they have a history."""
    def read(prefix):
        notes = prefix + ".json"
        return read_notes(notes, ("loss", "accuracy")) if os.path.exists(notes) else None

    notes = checkpoint.load(folder, read)
    if notes:
        settings = {name: tuple(value) if isinstance(value, list) else value
                    for name, value in notes["settings"].items() if name != "data"}
        draw_history(notes["history"], dataclasses.replace(Recipe(), **settings), path)
    return bool(notes)


def draw_history(history, recipe, path):
    """Draw the training curves of a run of `recipe` into the PNG `path`."""
    from figures.ex03 import draw_training
    plan = recipe.schedule
    draw_training(history, path, plan.stages, plan.epoch_ends, plan.full_epochs)
