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
    "--momentum nan", "--label-smoothing 1", "--precision float16", "--recipe none",
    "--save-every -1", "--save-every inf", "--checkpoint-dir=", "--output-dir=", "--data-dir=",
    "--logdir=", "--fresh --release", "surplus")
REFUSED = {
    "ex01_filters.py": (
        "--output-dir=", "--kernel=1,2", "--kernel=x", "--kernel=nan", "--kernel=", "a b"),
    "ex02_fashion_cnn.py": TRAINING + (
        "--seed 100000001", "--filters 8 8", "--filters 8 8 1000000", "--kernel-sizes 5 3 29",
        "--warp 1e9", "--erase-sides 12 3", "--erase-sides 3 29", "--validation 60000",
        "--evaluate --validation 9", "--predict a.jpg --validation 9", "--evaluate --fresh",
        "--predict", "--evaluate --teachers checkpoints/fashion"),
    "ex03_cifar.train": TRAINING + (
        "--seed 4294967296", "--widths 0 8 8", "--widths", "--widths 8 8 8 8 8", "--widths 8 inf",
        "--convolutions 4", "--shift 32", "--scale-jitter 1.4 0.6", "--stage-sides 20",
        "--stage-crops 19 28", "--stage-ends 0.8 0.4", "--hard-fraction 0.95",
        "--images 600 --validation 200", "--images 500 --validation 500",
        "--images 3000 --hard-fraction 0.1", "--processes 0"),
    "ex03_cifar.evaluate": ("--images 0", "--images nan", "--checkpoint-dir=", "--output-dir="),
    "predict": (
        "--top 0 a.jpg", "--top nan a.jpg", "--checkpoint-dir= a.jpg", "--explain a.jpg a.jpg",
        "--explain a.png a.jpg b.jpg", "--explain /none/a.png a.jpg", ""),
    "tools/measure_photos.py": ("--checkpoint-dir= photos", ""),
    "tools/benchmark.py": ("--recipe none", "--seconds 0", "--seconds nan"),
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
    assert len(results) == len(cases), done.stderr
    taken = [(program, line, code, stderr) for program, line, code, stdout, stderr in results
             if code != 2 or stdout or "Traceback" in stderr
             or not re.match(r".*(error|Erreur ?): .{15,}$", stderr.strip().split("\n")[-1])]
    assert taken == []
