"""A recipe checks itself, and its schedule follows from it."""
from dataclasses import replace

import pytest

from ex03_cifar import options
from ex03_cifar.recipes import RECIPES


def test_the_stages_grow_to_whole_images():
    assert RECIPES["fast"].schedule.stages == (
        (20, 32, 0, 0.4), (28, 28, 0.4, 0.8), (32, 32, 0.8, 1))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_bfloat16_is_for_processors_that_have_it(precision, monkeypatch):
    monkeypatch.setattr(options, "fastest", lambda wanted: precision)
    for name in RECIPES:
        assert options.parse(["--recipe", name])[0].precision == precision
        assert RECIPES[name].precision == "bfloat16"


def test_epochs_see_all_images_first_and_a_selection_later():
    recipe = replace(RECIPES["best"], epochs=10, images=1100, validation=100, batch_size=250,
                     selection_start=0.3)
    plan = recipe.schedule
    assert plan.epoch_sizes == (1000,) * 3 + (600,) * 7
    assert plan.epoch_ends == (4, 8, 12, 14, 16, 18, 20, 22, 24, 26)
    assert (plan.full_epochs, plan.random_images) == (3, 100)
    assert replace(recipe, epochs=1).schedule.epoch_sizes == (1000,)
    assert replace(recipe, selection_start=0).schedule.full_epochs == 1  # losses must be known


@pytest.mark.parametrize("changes, sentence", [
    (dict(widths=(8, 8, 8, 8, 8)), "--widths: 5 blocks are too many"),
    (dict(scale_jitter=(1,)), "--scale-jitter: expected 2 value"),
    (dict(epochs=2.5), "--epochs: expected a whole number"),
    (dict(momentum=float("nan")), "--momentum: expected a number from 0 to 1")])
def test_the_dataclass_checks_itself_whoever_makes_it(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(RECIPES["fast"], **changes)
