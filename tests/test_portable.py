"""Every program runs on Windows and macOS, as far as Linux can tell: without what they lack.

The static check finds each name of the standard library that another system lacks; the others run
the programs with files as they are there (other_systems.py).
"""
import ast
import glob
import os
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


def done(system, program, arguments, tmp_path, code=0):
    """Run a program to its end where `system` lacks what it lacks; return what it printed."""
    found, text = run(program, arguments, str(tmp_path / "output"), prepare=system)
    assert found == code and "Traceback" not in text, text
    return text


@each_system
def test_predict(system, tmp_path):
    drawn = tmp_path / "why.png"
    text = done(system, "predict", ["--explain", str(drawn), SAMPLE], tmp_path)
    assert text == "Prédiction: Avion\n" and drawn.read_bytes().startswith(b"\x89PNG")
    text = done(system, "predict", ["--json", SAMPLE, "absent.jpg"], tmp_path, code=1)
    assert '"name": "Avion"' in text and "Erreur: absent.jpg n'existe pas." in text


def test_a_prediction_in_an_old_code_page():
    """The line is shown, not its bytes in UTF-8."""
    done = run_command(sys.executable, "predict", SAMPLE, encoding="cp850",
                       env={"PYTHONIOENCODING": "cp850", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "Prédiction: Avion\n", "")


def test_exercise_1(tmp_path):
    folder = tmp_path / "é \x1b[31m"
    text = done(windows, "ex01_filters", ["--output-dir", str(folder)], tmp_path)
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
