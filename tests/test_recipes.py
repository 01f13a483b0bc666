"""The recipes are complete, and run in what the processor is fast in."""
from dataclasses import replace

import pytest

from ex03_cifar import options, recipes
from ex03_cifar.recipes import RECIPES, Selection
from support import tf1


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_stages_grow_to_whole_images(name):
    stages = list(recipes.training_stages(RECIPES[name]))
    sides, ends = zip(*[(stage.side, stage.until) for stage, _ in stages])
    assert list(sides) == sorted(sides) and list(ends) == sorted(ends)
    assert (sides[-1], ends[-1]) == (32, 1)
    assert [begin for _, begin in stages] == [0] + list(ends[:-1])


@pytest.mark.parametrize("able, precision", ((True, "bfloat16"), (False, "float32")))
def test_bfloat16_is_for_processors_that_have_it(able, precision, monkeypatch):
    monkeypatch.setattr(tf1, "computes_bfloat16", lambda: able)
    for name in RECIPES:
        assert options.parse(["--recipe", name])[0].precision == precision
        assert RECIPES[name].precision == "bfloat16"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_epochs_see_all_images_first_and_then_a_part_of_them(name):
    recipe = replace(RECIPES[name], epochs=10, images=1100, validation=100, batch_size=250,
                     selection=Selection(after=0.3, hardest=0.5, others=0.1))
    assert recipes.epoch_sizes(recipe) == [1000] * 3 + [600] * 7
    assert recipes.epoch_steps(recipe) == [4] * 3 + [2] * 7
    assert recipes.epoch_sizes(replace(recipe, epochs=1)) == [1000]
