"""A command line becomes a recipe, or a sentence; TensorFlow is not needed for either."""
import dataclasses
import json
import os
import re
import sys

from helpers import ROOT, run_command

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


# ---- What no program takes, told before TensorFlow is imported ----

TRAINING = (  # of both exercises
    "--epochs 0", "--epochs 10001", "--epochs ten", "--epochs ²", "--epochs 1e3", "--seed -1",
    "--seed 1.5", "--batch-size 0", "--batch-size 1000000", "--momentum nan", "--momentum 1.1",
    "--weight-decay -1", "--label-smoothing 1", "--label-smoothing nan", "--precision float16",
    "--recipe none", "--save-every -1", "--save-every nan", "--save-every inf", "--checkpoint-dir=",
    "--output-dir=", "--data-dir=", "--logdir=", "--fresh --release", "surplus")
REFUSED = {
    "ex01_filters.py": (
        "--output-dir=", "--kernel=1,2", "--kernel=x", "--kernel=nan", "--kernel=", "a b"),
    "ex02_fashion_cnn.py": TRAINING + (
        "--seed 100000001", "--filters 0 8 8", "--filters 8 8", "--filters 8 8 1000000",
        "--kernel-sizes 0 3 3", "--kernel-sizes 5 3 29", "--dense-units 0",
        "--learning-rate 0", "--learning-rate inf", "--learning-rate nan",
        "--sgd-learning-rate 0", "--sgd-momentum 1.1", "--warp 1e9", "--warp -1", "--warp nan",
        "--erase-prob 1.01", "--erase-prob nan", "--erase-sides 12 3", "--erase-sides 3 29",
        "--erase-sides 0 3", "--evaluate --validation 9", "--predict a.jpg --validation 9",
        "--validation 60000", "--validation -1", "--evaluate --fresh", "--predict",
        "--evaluate --teachers checkpoints/fashion"),
    "ex03_cifar.train": TRAINING + (
        "--seed 4294967296", "--widths 0 8 8", "--widths", "--widths 8 8 8 8 8", "--widths 8 inf",
        "--convolutions 1", "--convolutions 4", "--learning-rate 0", "--learning-rate inf",
        "--bias-learning-rate 0", "--head-learning-rate 0", "--sgd-momentum -0.1", "--shift 32",
        "--shift -1", "--cutout 33", "--scale-jitter-prob 2", "--scale-jitter 0 1",
        "--scale-jitter 1.4 0.6", "--scale-jitter nan 1", "--colour-jitter-prob -1",
        "--colour-jitter 2", "--hue-jitter-prob 1.1",
        "--stage-sides 20", "--stage-sides 20 33", "--stage-crops 19 28", "--stage-ends 0.8 0.4",
        "--stage-ends 0.4 1.1", "--selection-start 1.1",
        "--hard-fraction 0.95", "--random-fraction nan", "--images 50001", "--images 0",
        "--validation -1", "--validation 50000", "--images 600 --validation 200",
        "--images 500 --validation 500", "--images 3000 --hard-fraction 0.1",
        "--processes 0", "--processes 65", "--task 0",
        "--cluster 127.0.0.1:1", "--cluster 127.0.0.1:1,b --task 0",
        "--cluster 127.0.0.1:1,b:70000 --task 0", "--cluster 127.0.0.1:1,127.0.0.1:2 --task 2", "--cluster-timeout nan", "--cluster-timeout 1e300"),
    "ex03_cifar.evaluate": (
        "--images 0", "--images 10001", "--images nan", "--checkpoint-dir=", "--output-dir=",
        "--data-dir="),
    "predict": (
        "--top 0 a.jpg", "--top 11 a.jpg", "--top nan a.jpg", "--checkpoint-dir= a.jpg",
        "--explain a.jpg a.jpg", "--explain a.png a.jpg b.jpg", "--explain /none/a.png a.jpg", ""),
    "tools/measure_photos.py": ("--checkpoint-dir= photos", ""),
    "tools/benchmark.py": ("--recipe none", "--seconds 0", "--seconds nan", "--seconds 1e9"),
    "tools/draw_network.py": ("--output-dir=",),
    "tools/draw_features.py": ("--output-dir=",),
    "tools/draw_course.py": ("--output-dir=",),
}
IN_ONE_PROCESS = """
import contextlib, io, json, runpy, sys
for program, line in json.load(sys.stdin):
    sys.argv = [program] + line.split()
    streams = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            if program.startswith("ex03"):
                runpy.run_module(program, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(program, run_name="__main__")
            code = "none"
        except SystemExit as stop:
            code = stop.code
        except Exception as error:
            code = repr(error)
    print(json.dumps([program, line, code, streams[0].getvalue(), streams[1].getvalue()]))
"""


def test_no_program_takes_a_value_out_of_range_and_none_needs_tensorflow_to_say_so(no_tensorflow):
    cases = [(program, line) for program, lines in REFUSED.items() for line in lines]
    done = run_command(sys.executable, "-c", IN_ONE_PROCESS, input=json.dumps(cases), stdin=None,
                       env=no_tensorflow)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(cases) > 100, done.stderr
    taken = [(program, line, code, stderr) for program, line, code, stdout, stderr in results
             if code != 2 or stdout or "Traceback" in stderr
             or not re.match(r".*(error|Erreur ?): .{15,}$", stderr.strip().split("\n")[-1])]
    assert taken == []
