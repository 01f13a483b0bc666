"""The benchmark measures what it says, on a small recipe."""
import json
import re
import time
from dataclasses import replace

import pytest

from ex03_cifar import benchmark
from ex03_cifar.network import flops, network
from ex03_cifar.recipes import RECIPES
from support.console import UserError
from support.tf1 import tf

SMALL = replace(RECIPES["fast"], widths=(8, 16, 16), batch_size=100, precision="float32")


@pytest.fixture
def small_recipe(monkeypatch):
    monkeypatch.setitem(RECIPES, "fast", SMALL)


def test_functions_are_timed_in_turns_and_the_median_is_kept():
    calls = []
    pauses = iter([0, 0, 0, 0.02, 0.3, 0.02])  # two runs to warm up, the third is the median's

    def quick():
        calls.append("quick")

    def slow():
        calls.append("slow")
        time.sleep(next(pauses, 0.02))
    quick_time, slow_time = benchmark.measure([quick, slow], seconds=0.4)
    assert calls[4:8] == ["quick", "slow", "quick", "slow"]
    assert quick_time < 0.01 and 0.02 <= slow_time < 0.1


def test_the_flops_of_a_run_are_those_of_its_stages():
    recipe = replace(SMALL, epochs=10, images=1100, validation=100, stage_sides=(16,),
                     stage_crops=(32,), stage_ends=(0.5,), selection_start=1)
    small, whole = [flops(SMALL.widths, 2, side) for side in (16, 32)]
    assert benchmark.run_flops(recipe) == pytest.approx(3 * 1000 * (5 * small + 5 * whole))
    recipe = replace(recipe, stage_sides=(), stage_crops=(), stage_ends=())
    assert benchmark.run_flops(recipe) == 3 * 1000 * 10 * whole
    recipe = replace(recipe, selection_start=0.3)
    assert benchmark.run_flops(recipe) == 3 * (3 * 1000 + 7 * 600) * whole


@pytest.mark.parametrize("precision, stages", [
    ("float32", dict(stage_sides=(), stage_crops=(), stage_ends=())), ("bfloat16", {})])
def test_single_convolutions_are_those_of_the_recipe(precision, stages, monkeypatch, capsys):
    recipe = replace(SMALL, **stages)
    monkeypatch.setitem(RECIPES, "fast", recipe)
    benchmark.main(["--layers", "--precision", precision, "--seconds", "1"])
    lines = re.findall(r"^(\d+)x\1, (\d+) -> (\d+) ((?: +x? ?[\d.]+)+)$", capsys.readouterr().out,
                       re.MULTILINE)
    shapes = [(31, 24, 8), (15, 8, 8), (15, 8, 16), (7, 16, 16), (3, 16, 16)]
    assert [tuple(map(int, line[:3])) for line in lines][:5] == shapes
    found = set(benchmark.layers(recipe))
    assert found.issuperset(shapes) and len(found) == len(lines)
    for side in recipe.stage_sides + (32,):
        with tf.Graph().as_default() as graph:
            network(tf.zeros([1, side, side, 3], tf.uint8), SMALL.widths, 2, training=False)
        built = {(int(operation.outputs[0].shape[1]),) + tuple(
            operation.inputs[1].shape.as_list()[2:]) for operation in graph.get_operations()
            if operation.type == "Conv2D" and operation.inputs[1].shape[0] == 3}
        assert found.issuperset(built) and built


def test_figures_agree_with_one_another(small_recipe, capsys, tmp_path):
    path = tmp_path / "timeline.json"
    arguments = ["--seconds", "1", "--precision", "bfloat16", "--timeline", str(path)]
    benchmark.main(arguments)
    text = capsys.readouterr().out
    mflop = float(re.search(r"(\d+) MFLOP per image in inference", text).group(1))
    best = {precision: float(figure) for precision, figure in re.findall(
        r"^the convolution alone, (\w+) +(\d+) +100 %$", text, re.MULTILINE)}
    assert best["float32"] > 1
    for name, precision, times in (("training", "float32", 3), ("training", "bfloat16", 3),
                                   ("inference", "float32", 1)):
        rate, gflops, share = map(int, re.search(
            r"%s, %s, batches of \d+ +(\d+) +(\d+) +(\d+) %%" % (name, precision),
            text).groups())
        assert rate * times * mflop / 1e3 == pytest.approx(gflops, rel=0.2, abs=1)  # rounded
        assert share == pytest.approx(100 * gflops / best[precision], rel=0.1, abs=2)  # as well
    events = json.loads(path.read_text())["traceEvents"]
    assert any("Conv2D" in event["name"] for event in events)
    table = text.split(" goes, ")[1]
    assert "Conv2D" in table
    assert sum(map(float, re.findall(r"([\d.]+) %$", table, re.MULTILINE))) == pytest.approx(
        100, abs=2)


def test_a_timeline_that_cannot_be_written_is_a_sentence(small_recipe, tmp_path):
    began = time.monotonic()
    with pytest.raises(UserError, match="timeline.json cannot be written: No such file"):
        benchmark.main(["--seconds", "60", "--timeline", str(tmp_path / "no" / "timeline.json")])
    assert time.monotonic() - began < 5
