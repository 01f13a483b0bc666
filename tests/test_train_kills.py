"""A training that is killed again and again ends as if nothing had happened (apart: it takes long)."""
import os
import random
import shutil
import signal
import time

from helpers import (TRAIN, assert_same_bits, block, remembered, run, small_run, start, state, states,
                     unblock, variables)
from test_train import undisturbed, unreleased  # noqa: F401, fixtures


def test_a_run_killed_at_20_random_moments_ends_in_the_same_weights(
        small_data, undisturbed, unreleased, tmp_path):  # noqa: F811
    reference, _, seconds = undisturbed
    folder, output = str(tmp_path / "killed"), str(tmp_path / "out")
    rng = random.Random(0)
    kills = 0
    while kills < 20:
        began = time.time()
        process = start(TRAIN, small_run(small_data, folder), output)
        process.join(rng.uniform(0.2, 1.0) * seconds)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        else:  # it was through before its moment came: kill a new one
            assert process.exitcode == 0, open(output).read()
            assert_same_bits(variables(folder), variables(reference))
            shutil.rmtree(folder)
            seconds = min(seconds, time.time() - began)
    # Optimizer slots, moving averages and what it remembers of the images, before the release.
    block(folder)
    code, text = run(TRAIN, small_run(small_data, folder), output)
    assert code == 1, text
    for content in variables, remembered:
        assert_same_bits(content(state(folder, 8)), content(state(unreleased[0], 8)))
    unblock(folder)
    code, text = run(TRAIN, small_run(small_data, folder), output)
    assert code == 0 and states(folder) == [], text
    assert_same_bits(variables(folder), variables(reference))
    assert not [name for name in os.listdir(folder) if name.startswith(".unfinished")]
