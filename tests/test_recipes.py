"""The recipes are complete, and run in what the processor is fast in."""
import pytest

from ex03_cifar import recipes


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_the_parts_grow_to_whole_images(name):
    options = recipes.recipe(name)
    assert options.keys() == recipes.RECIPES["fast"].keys()
    sides, _, ends = zip(*options["parts"] + [[32, 32, 1]])
    assert list(sides) == sorted(sides) and list(ends) == sorted(ends)


@pytest.mark.parametrize("able, precision", ((True, "bfloat16"), (False, "float32")))
def test_bfloat16_is_for_processors_that_have_it(able, precision, monkeypatch):
    monkeypatch.setattr(recipes, "computes_bfloat16", lambda: able)
    assert recipes.recipe("best")["precision"] == precision
    assert recipes.recipe("fast")["precision"] == "float32"
    assert recipes.RECIPES["best"]["precision"] == "bfloat16"
