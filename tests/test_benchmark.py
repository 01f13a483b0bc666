"""The benchmark measures what it says, on a small recipe."""
import re
import time
from dataclasses import replace

import pytest

from ex03_cifar.recipes import RECIPES
from tools import benchmark

SMALL = replace(RECIPES["fast"], widths=(8, 16, 32), batch_size=100, precision="float32")


def test_functions_are_timed_in_turns_and_the_median_is_kept():
    calls, pauses = [], iter([0, 0, 0.02, 0.3, 0.02])  # the first two runs warm up

    def slow():
        calls.append("slow")
        time.sleep(next(pauses))
    quick_time, slow_time = benchmark.measure([lambda: calls.append("quick"), slow], seconds=0)
    assert calls[4:8] == ["quick", "slow", "quick", "slow"]
    assert quick_time < 0.01 and 0.02 <= slow_time < 0.2


def test_flops_are_those_counted_by_hand():
    """Two for each multiplication and addition: positions x kernel x channels x filters."""
    whitening = 31 * 31 * 4 * 3 * 24
    first = 31 * 31 * 9 * 24 * 8 + 15 * 15 * 9 * 8 * 8
    second = 15 * 15 * 9 * 8 * 16 + 7 * 7 * 9 * 16 * 16
    third = 7 * 7 * 9 * 16 * 32 + 3 * 3 * 9 * 32 * 32
    assert benchmark.flops(SMALL) == 2 * (whitening + first + second + third + 32 * 10)


def test_the_flops_of_a_run_are_those_of_its_stages():
    recipe = replace(SMALL, epochs=10, images=1100, validation=100, stage_sides=(16,),
                     stage_crops=(32,), stage_ends=(0.5,), selection_start=1)
    small, whole = [benchmark.flops(SMALL, side) for side in (16, 32)]
    assert benchmark.run_flops(recipe) == pytest.approx(3 * 1000 * (5 * small + 5 * whole))
    recipe = replace(recipe, stage_sides=(), stage_crops=(), stage_ends=(), selection_start=0.3)
    assert benchmark.run_flops(recipe) == 3 * (3 * 1000 + 7 * 600) * whole


def test_figures_agree_with_one_another(monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "fast", SMALL)
    benchmark.main(["--seconds", "1"])
    text = capsys.readouterr().out
    image = benchmark.flops(SMALL) / 1e9
    assert "fast: %.0f MFLOP per image" % (1e3 * image) in text
    best = float(re.search(r"one large convolution, float32 +\d+ +([\d.]+) +100 %", text).group(1))
    for name, times in ("training", 3), ("inference", 1):
        rate, gflops, share = map(float, re.search(
            name + r", float32 +(\d+) +([\d.]+) +(\d+) %", text).groups())
        assert rate * times * image == pytest.approx(gflops, rel=0.2, abs=1)  # rounded
        assert share == pytest.approx(100 * gflops / best, rel=0.1, abs=2)  # as well
    assert "exchange with a second process, float32: 0.08 MB each way in " in text
