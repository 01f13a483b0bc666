"""What becomes of a finished training: a release, and its curves drawn again."""
import dataclasses
import os
import pathlib

from ex03_cifar import RELEASE
from ex03_cifar.classifier import GRAPH, LARGE_BATCH_GRAPH, Classifier
from ex03_cifar.recipes import Recipe
from support import checkpoint
from support.console import say
from support.reports import read_notes

NOTES = GRAPH, LARGE_BATCH_GRAPH, ".json"  # files of a release besides the Saver's


def release(folder):
    """Verify the weights in `folder` and make them the released ones.

    Raises:
        checkpoint.CheckpointError: they are missing, damaged or of another network.
    """
    def read(prefix):
        return {ending: pathlib.Path(prefix + ending).read_bytes() for ending in NOTES}

    network = Classifier(folder, exact=True)
    checkpoint.save(RELEASE, network.session, network.saver, checkpoint.load(folder, read, NOTES))
    say("Released the weights of %s. To draw their pictures: "
        "python -m ex03_cifar.evaluate --output-dir images" % folder)


def draw_curves(folder, path):
    """Draw the training curves of the weights in `folder`; return whether they have a history."""
    def read(prefix):
        path = prefix + ".json"
        return read_notes(path, ("loss", "accuracy")) if os.path.exists(path) else None

    notes = checkpoint.load(folder, read)
    if notes:
        values = {field.name: notes["settings"].get(field.name, field.default)
                  for field in dataclasses.fields(Recipe)}
        recipe = Recipe(**{name: tuple(value) if isinstance(value, list) else value
                           for name, value in values.items()})
        draw_history(notes["history"], recipe, path)
    return bool(notes)


def draw_history(history, recipe, path):
    """Draw the training curves of a run of `recipe` into the PNG `path`."""
    from figures.ex03 import draw_training
    draw_training(history, path, recipe.schedule)
