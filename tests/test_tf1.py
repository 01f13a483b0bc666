"""One file imports TensorFlow, when it is first used; no import runs up; --help needs none."""
import ast
import glob
import os
import re
import sys

import pytest
from helpers import ROOT, run_command

PROGRAMS = (["ex01_filters.py"], ["ex02_fashion_cnn.py"], ["-m", "ex03_cifar.train"],
            ["-m", "ex03_cifar.evaluate"], ["predict"], ["tools/draw_course.py"],
            ["tools/measure_photos.py"], ["tools/benchmark.py"])
SOURCES = [os.path.relpath(path, ROOT) for pattern in (
    "predict", "ex0*.py", "ex03_cifar/*.py", "figures/*.py", "support/*.py", "tools/*.py")
           for path in glob.glob(os.path.join(ROOT, pattern))]


def imported(path):
    """Return the names of the modules that a file imports, anywhere in it."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield "%s.%s" % (node.module, alias.name)


def test_one_file_imports_tensorflow():
    found = {path for path in SOURCES for name in imported(path)
             if re.match(r"(tensorflow|tf_keras|keras)\b", name)}
    assert found == {"support/tf1.py"}


def test_no_import_runs_up():
    assert len(SOURCES) > 25
    for path in SOURCES:
        for name in imported(path):
            assert not name.startswith("ex03_cifar.train"), path
            assert not (path.startswith("support/")
                        and re.match("ex0|figures|tools", name)), (path, name)
            assert not (path.startswith("figures/")
                        and re.match("ex0|tools|support.tf1", name)), (path, name)
            assert not (path.startswith("ex03_cifar/") and re.match("ex0[12]|tools", name)), path
            assert not (path.startswith(("ex01", "ex02")) and re.match("ex0", name)), (path, name)


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_help_is_there_at_once(program, no_tensorflow):
    done = run_command(sys.executable, *program + ["--help"], env=no_tensorflow)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().startswith(("usage: ", "utilisation : "))
