"""Training's command line becomes a recipe, or a sentence; TensorFlow is not needed to tell."""
import sys
import time

import pytest
from helpers import run_command

from ex03_cifar import options
from ex03_cifar.recipes import RECIPES, Selection, Stage
from support.console import UsageError


def recipe(*arguments):
    return options.parse(list(arguments))[0]


def test_options_change_single_parts_of_the_named_recipe():
    changed = recipe("--recipe", "best", "--widths", "8", "16", "16", "--batch-size", "100",
                     "--learning-rate", "0.2")
    assert (changed.widths, changed.batch_size, changed.learning_rate) == ((8, 16, 16), 100, 0.2)
    assert (changed.epochs, changed.cutout) == (RECIPES["best"].epochs, RECIPES["best"].cutout)


@pytest.mark.parametrize("text, name, value", (
    ("cutout=0", "cutout", 0),
    ("momentum=1", "momentum", 1.0),  # a whole number is a number too
    ("precision='float32'", "precision", "float32"),
    ("widths=(1,2,3)", "widths", (1, 2, 3)),
    ("stages=[[16,32,0.5]]", "stages", (Stage(16, 32, 0.5),)),
    ("stages=()", "stages", ()),
    ("selection=(0.3,0.5,0.1)", "selection", Selection(0.3, 0.5, 0.1))))
def test_set_reaches_every_hyper_parameter(text, name, value):
    found = getattr(recipe("--set", text), name)
    assert found == value and type(found) is type(value)


def test_set_may_be_given_more_than_once():
    changed = recipe("--set", "cutout=3", "--set", "shift=1")
    assert (changed.cutout, changed.shift) == (3, 1)


@pytest.mark.parametrize("arguments, sentence", (
    (["--set", "depth=3"], "'depth' is none of batch_size, "),
    (["--set", "cutout"], "'cutout' is no value like 6"),
    (["--set", "cutout=0.5"], "'cutout=0.5' is no value like 6"),
    (["--set", "momentum=much"], "'momentum=much' is no value like 0.7"),
    (["--set", "momentum='0.7"], "is no value like 0.7"),
    (["--set", "stages=3"], "'stages=3' is no value like "),
    (["--set", "stages=[[16]]"], "is no value like "),
    (["--set", "selection=(1,2)"], "is no value like "),
    (["--set", "cutout=__import__('os')"], "is no value like 6"),
    (["--epochs", "0"], "'0' is no whole number from 1 up"),
    (["--epochs", "²"], "'²' is no whole number from 1 up"),
    (["--widths", "8", "²", "8"], "'²' is no whole number from 1 up"),
    (["--seed", "4294967296"], "is no whole number from 0 to 4294967295"),
    (["--learning-rate", "nan"], "is no number from 0 up"),
    (["--save-every", "²"], "'²' is no number from 0 up"),
    (["--curves", "curves.jpg"], "does not end in .png")))
def test_an_impossible_option_is_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        recipe(*arguments)
    said = capsys.readouterr()
    assert stop.value.code == 2 and said.out == ""
    assert sentence in said.err.splitlines()[-1] and "invalid" not in said.err


@pytest.mark.parametrize("arguments", (
    ["--images", "500", "--validation", "600"], ["--images", "500", "--validation", "100"],
    ["--images", "3000", "--set", "selection=(0.1,0.1,0.1)"]), ids=" ".join)
def test_an_epoch_of_less_than_a_batch_is_a_sentence(arguments):
    with pytest.raises(UsageError, match=r"of \d+ images \d+ are held out.* a batch of 500"):
        recipe(*arguments)
    assert UsageError.code == 2


def test_a_mistake_is_refused_at_once(no_tensorflow):
    began = time.monotonic()
    done = run_command(sys.executable, "-m", "ex03_cifar.train", "--epochs", "0", env=no_tensorflow)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.endswith("'0' is no whole number from 1 up\n")
    assert time.monotonic() - began < 2  # a third of a second where nothing else runs
