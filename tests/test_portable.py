"""Every program runs on Windows and macOS, as far as Linux can tell: without what they lack.

The static check finds each name of the standard library that another system lacks; the others run
the programs with files as they are there.
"""
import ast
import builtins
import errno
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from helpers import (EVALUATE, ROOT, SAMPLE, TRAIN, assert_same_bits, run, run_command,
                     small_evaluation, small_run, start, variables)

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes away what Linux has more")
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


# ---- What Windows lacks, and macOS in part, taken away on Linux in a program's process ----

_open, _fsync, _os_open = builtins.open, os.fsync, os.open


def windows():
    """No /proc, no `resource`, no processors assigned to a process; files that are open are neither
    replaced nor removed, folders are not opened; text has another encoding and line end."""
    del os.sched_getaffinity
    os.process_cpu_count = os.cpu_count  # Python 3.13's calls the former
    sys.modules["resource"] = None
    builtins.open, os.open, os.fsync = open_in_code_page, refuse_folders, sync_for_writing_only
    os.rename = refusing(os.rename, may_replace=False)
    os.replace, os.remove, os.unlink = map(refusing, (os.replace, os.remove, os.unlink))
    shutil._use_fd_functions = False  # it removes by path there
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile


def open_in_code_page(path, mode="r", buffering=-1, encoding=None, errors=None, newline=None,
                      **more):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
    if "b" not in mode:
        encoding = encoding or "cp1252"
        newline = "\r\n" if newline is None and "r" not in mode else newline
    return _open(path, mode, buffering, encoding, errors, newline, **more)


def refuse_folders(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _os_open(path, *arguments, **options)


def sync_for_writing_only(file):
    number = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(file)


def refusing(change, may_replace=True):
    """Return a change of files that is refused where this process has one of them open."""
    def changed(*paths, **options):
        opened = {os.path.realpath("/proc/self/fd/" + number)
                  for number in os.listdir("/proc/self/fd")}
        for path in paths:
            if os.path.realpath(path) in opened:
                raise PermissionError(errno.EACCES, "Permission denied", path)
        if not may_replace and os.path.lexists(paths[1]):
            raise FileExistsError(errno.EEXIST, "File exists", paths[1])
        return change(*paths, **options)
    return changed


def done(program, arguments):
    """Run a program to its end as on Windows; return what it printed."""
    code, text = run(program, arguments, prepare=windows)
    assert code == 0 and "Traceback" not in text, text
    return text


def test_predict(tmp_path):
    drawn = tmp_path / "why.png"
    text = done("predict", ["--explain", str(drawn), SAMPLE])
    assert text == "Prédiction: Avion\n" and drawn.read_bytes().startswith(b"\x89PNG")


def test_exercise_1(tmp_path):
    folder = tmp_path / "é \x1b[31m"
    text = done("ex01_filters", ["--output-dir", str(folder)])
    assert "\x1b" not in text and "\\x1b" in text
    for name in "ex01_horizontal.png", "ex01_vertical.png":
        with open(os.path.join(ROOT, "images", name), "rb") as expected:
            assert (folder / name).read_bytes() == expected.read()


def test_exercise_2(small_fashion, tmp_path):
    arguments = ["--data-dir", str(small_fashion), "--checkpoint-dir", str(tmp_path / "weights"),
                 "--output-dir", str(tmp_path / "drawn"), "--epochs", "1", "--dense-units", "8",
                 "--filters", "4", "4", "4", "--save-every", "0"]
    assert "Test accuracy" in done("ex02_fashion_cnn", arguments)
    assert b"\r" not in (tmp_path / "weights" / "SHA256SUMS").read_bytes()
    assert "Test accuracy" in done("ex02_fashion_cnn", ["--evaluate"] + arguments[:6])
    assert os.listdir(str(tmp_path / "drawn"))


def test_exercise_3_interrupted_and_resumed(small_data, tmp_path):
    folders = [str(tmp_path / name) for name in ("undisturbed", "interrupted")]
    done(TRAIN, small_run(small_data, folders[0]))
    process = start(TRAIN, small_run(small_data, folders[1]), str(tmp_path / "output"),
                    prepare=windows)
    saved = os.path.join(folders[1], "state", "step-*", "SHA256SUMS")
    while process.is_alive() and not glob.glob(saved):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130 and "Interrupted after step" in (tmp_path / "output").read_text()
    done(TRAIN, small_run(small_data, folders[1]))
    assert_same_bits(*map(variables, folders))
    assert "test accuracy" in done(EVALUATE, small_evaluation(small_data, folders[1]))


def test_git_changes_no_line_end(tmp_path):
    """As Git for Windows is set up: text would have CR LF, and every checkpoint be damaged."""
    if run_command("git", "rev-parse", "--git-dir").returncode:
        pytest.skip("this is not a clone")
    clone = str(tmp_path / "clone")
    run_command("git", "-c", "core.autocrlf=true", "clone", "-q", "--depth", "1",
                "file://" + ROOT, clone)
    names = run_command("git", "ls-files", "predict", "checkpoints").stdout.split()
    assert len(names) > 8
    for name in names:
        with open(os.path.join(clone, name), "rb") as stream:
            committed = run_command("git", "show", "HEAD:" + name, encoding=None).stdout
            assert stream.read() == committed, name
