"""A command line becomes a recipe, or a sentence; TensorFlow is not needed for either."""
import dataclasses
import os

from helpers import ROOT

from ex03_cifar import options
from ex03_cifar.recipes import RECIPES, Recipe


def recipe(*arguments):
    return options.parse(list(arguments))[0]


def test_options_change_single_values_of_the_named_recipe():
    changed = recipe("--recipe", "best", "--widths", "8", "16", "--batch-size", "100",
                     "--learning-rate", "0.2")
    assert (changed.widths, changed.batch_size, changed.learning_rate) == ((8, 16), 100, 0.2)
    assert (changed.epochs, changed.cutout) == (RECIPES["best"].epochs, RECIPES["best"].cutout)


def test_every_hyper_parameter_has_an_option():
    for field in dataclasses.fields(Recipe):
        value = getattr(RECIPES["best"], field.name)
        words = [str(word) for word in (value if isinstance(value, tuple) else [value])]
        found = getattr(recipe("--" + field.name.replace("_", "-"), *words), field.name)
        assert found == value and type(found) is type(value)


def test_without_stages_all_images_are_whole():
    assert recipe("--stage-sides", "--stage-crops", "--stage-ends").stage_sides == ()


def test_own_trainings_do_not_touch_the_released_weights():
    _, run_options = options.parse([])
    assert run_options.checkpoint_dir == os.path.join(ROOT, "checkpoints", "runs", "cifar10")
