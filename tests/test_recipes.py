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
    for name in recipes.RECIPES:
        assert recipes.recipe(name)["precision"] == precision
        assert recipes.RECIPES[name]["precision"] == "bfloat16"


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_epochs_see_all_images_first_and_then_a_part_of_them(name):
    options = dict(recipes.RECIPES[name], epochs=10, images=1100, validation=100, batch_size=250,
                   harder=[0.3, 0.5, 0.1])
    assert recipes.epoch_sizes(options) == [1000] * 3 + [600] * 7
    assert recipes.epoch_steps(options) == [4] * 3 + [2] * 7
    assert recipes.epoch_sizes(dict(options, epochs=1)) == [1000]
