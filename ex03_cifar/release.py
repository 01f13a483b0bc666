"""What becomes of a finished training: a release of its weights, and its curves drawn again."""
import dataclasses
import os
import pathlib

from ex03_cifar.classifier import GRAPH, LARGE_BATCH_GRAPH, RELEASE, Classifier
from ex03_cifar.recipes import Recipe
from support import checkpoint
from support.console import say
from support.reports import read_notes


def release(folder):
    """Verify the weights in `folder` and make them the released ones.

    Raises:
        checkpoint.CheckpointError: they are missing, damaged or of another network.
    """
    network, endings = Classifier(folder), (GRAPH, LARGE_BATCH_GRAPH, ".json")
    notes = checkpoint.load(folder, lambda prefix: {
        ending: pathlib.Path(prefix + ending).read_bytes() for ending in endings}, endings)
    checkpoint.save(RELEASE, network.session, network.saver, notes)
    say("Released the weights of %s. To draw their pictures: "
        "python -m ex03_cifar.evaluate --output-dir images" % folder)


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
