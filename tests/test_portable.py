"""Every program runs on Windows and macOS, as far as Linux can tell: without what they lack.

The static check finds each name of the standard library that another system lacks; the others run
the programs with such names, modules, files and habits taken away (other_systems.py).
"""
import ast
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers import (EVALUATE, ROOT, SAMPLE, TRAIN, assert_same_bits, run, run_command,
                     small_evaluation, small_run, start, variables)
from other_systems import macos, windows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has more")
each_system = pytest.mark.parametrize("system", [windows, macos], ids=["windows", "macos"])
SOURCES = sorted(os.path.relpath(path, ROOT) for pattern in ("predict", "*.py", "*/*.py")
                 for path in glob.glob(os.path.join(ROOT, pattern)))
PROGRAM_SOURCES = [path for path in SOURCES if not path.startswith(("tests", "docs"))]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="mypy needs Python 3.10")
def test_no_name_is_used_that_another_system_lacks(tmp_path):
    """mypy takes the branch of each system in typeshed; only names that are missing count."""
    checks = [subprocess.Popen(
        [sys.executable, "-m", "mypy", "--platform", platform, "--check-untyped-defs",
         "--follow-imports", "skip", "--ignore-missing-imports", "--scripts-are-modules",
         "--cache-dir", str(tmp_path / platform)] + PROGRAM_SOURCES, cwd=ROOT,
        stdout=subprocess.PIPE, universal_newlines=True) for platform in ("win32", "darwin")]
    outputs = [check.communicate()[0] for check in checks]
    assert all("checked %d source files" % len(PROGRAM_SOURCES) in output for output in outputs)
    assert [line for output in outputs for line in output.splitlines()
            if "Module has no attribute" in line] == []


def test_text_files_say_their_encoding():
    """The default of open() is another one on Windows."""
    wrong = []
    for path in PROGRAM_SOURCES:
        with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "open":
                try:
                    mode = ast.literal_eval(node.args[1])
                except (IndexError, ValueError):  # it is not given, or a variable
                    mode = "r"
                if "b" not in mode and "encoding" not in {option.arg for option in node.keywords}:
                    wrong.append("%s:%d" % (path, node.lineno))
    assert wrong == []


IMPORT_ALL = """
import sys
sys.path[:0] = [%r, %r]
import other_systems
other_systems.%s()
import importlib
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except SystemExit:  # the classes of some are TensorFlow's
        print(name)
"""


@each_system
def test_every_module_is_imported(system, no_tensorflow):
    modules = [re.sub(r"(/__init__)?\.py$", "", path).replace("/", ".")
               for path in PROGRAM_SOURCES if path.endswith(".py")]
    done = run_command(sys.executable, "-c", IMPORT_ALL % (
        ROOT, os.path.join(ROOT, "tests"), system.__name__), *modules, env=no_tensorflow)
    assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.split()) < 6


def done(system, program, arguments, tmp_path, code=0):
    """Run a program to its end where `system` lacks what it lacks; return what it printed."""
    found, text = run(program, arguments, str(tmp_path / "output"), prepare=system)
    assert found == code and "Traceback" not in text, text
    return text


@each_system
def test_predict(system, tmp_path):
    for arguments, lines in (
            ([SAMPLE], ["Prédiction: Avion"]),
            ([SAMPLE, "absent.jpg", SAMPLE], ["%s: Prédiction: Avion" % SAMPLE] * 2)):
        text = done(system, "predict", arguments, tmp_path, int(len(arguments) > 1))
        assert [line for line in text.splitlines() if "Erreur" not in line] == lines
    line = json.loads(done(system, "predict", ["--json", SAMPLE], tmp_path))
    assert line["name"] == "Avion"
    drawn = tmp_path / "why.png"
    text = done(system, "predict", ["--explain", str(drawn), SAMPLE], tmp_path)
    assert "Prédiction: Avion" in text
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_prediction_in_an_old_code_page():
    """The line is shown, not its bytes in UTF-8."""
    done = run_command(sys.executable, "predict", SAMPLE, encoding="cp850",
                       env={"PYTHONIOENCODING": "cp850", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "Prédiction: Avion\n", "")


@each_system
def test_exercise_1(system, tmp_path):
    folder = tmp_path / "é \x1b[31m"
    text = done(system, "ex01_filters", ["--output-dir", str(folder)], tmp_path)
    assert "\x1b" not in text and "\\x1b" in text
    for name in "ex01_horizontal.png", "ex01_vertical.png":
        with open(os.path.join(ROOT, "images", name), "rb") as expected:
            assert (folder / name).read_bytes() == expected.read()


def interrupted_and_resumed(program, arguments, tmp_path):
    """Interrupt a training once it has saved a state, resume it; return what it then printed."""
    folder = arguments[arguments.index("--checkpoint-dir") + 1]
    process = start(program, arguments, str(tmp_path / "output"), prepare=windows)
    saved = os.path.join(folder, "state", "step-*", "SHA256SUMS")
    while process.is_alive() and not glob.glob(saved):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    text = (tmp_path / "output").read_text()
    assert process.exitcode == 130 and "Interrupted after step" in text, text
    return done(windows, program, arguments, tmp_path)


def test_exercise_2(small_fashion, tmp_path):
    arguments = ["--data-dir", str(small_fashion), "--checkpoint-dir", str(tmp_path / "weights"),
                 "--output-dir", str(tmp_path / "drawn"), "--epochs", "3", "--dense-units", "8",
                 "--filters", "4", "4", "4", "--save-every", "0"]
    text = interrupted_and_resumed("ex02_fashion_cnn", arguments, tmp_path)
    assert "Test accuracy" in text and os.listdir(str(tmp_path / "drawn"))
    assert b"\r" not in (tmp_path / "weights" / "SHA256SUMS").read_bytes()
    assert "Test accuracy" in done(windows, "ex02_fashion_cnn", [
        "--evaluate"] + arguments[:6], tmp_path)


def test_exercise_3(small_data, tmp_path):
    folders = [str(tmp_path / name) for name in ("undisturbed", "interrupted")]
    done(macos, TRAIN, small_run(small_data, folders[0]), tmp_path)
    interrupted_and_resumed(TRAIN, small_run(small_data, folders[1]), tmp_path)
    assert_same_bits(*map(variables, folders))
    assert b"\r" not in (tmp_path / "interrupted" / "SHA256SUMS").read_bytes()
    for system, folder in zip((macos, windows), folders):
        assert "test accuracy" in done(system, EVALUATE, small_evaluation(small_data, folder),
                                       tmp_path)


def test_a_second_training_is_refused(small_data, tmp_path):
    from support.run_state import RunState
    beside = RunState(str(tmp_path), {})
    text = done(windows, TRAIN, small_run(small_data, str(tmp_path)), tmp_path, code=1)
    assert text.startswith("error: another training or release is writing to")
    beside.lock.close()


def test_git_changes_no_line_end(tmp_path):
    """As Git for Windows is set up: text would have CR LF, and every checkpoint be damaged."""
    if run_command("git", "rev-parse", "--git-dir").returncode:
        pytest.skip("this is not a clone")
    clone = str(tmp_path / "clone")
    run_command("git", "-c", "core.autocrlf=true", "clone", "-q", "--depth", "1", "file://" + ROOT, clone)
    names = run_command("git", "ls-files", "predict", "checkpoints").stdout.split()
    assert len(names) > 8
    for name in names:
        with open(os.path.join(clone, name), "rb") as stream:
            committed = run_command("git", "show", "HEAD:" + name, encoding=None).stdout
            assert stream.read() == committed, name
