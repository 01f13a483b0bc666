"""One dialect for all programs: exit codes, error sentences, streams that are closed."""
import argparse
import os
import sys

import pytest
from helpers import ROOT, run_command, start_command

from support import arguments, console


def raises(error):
    def main():
        raise error
    return main


@pytest.mark.parametrize("main, code, sentence", [
    (lambda: None, 0, ""),
    (lambda: 1, 1, ""),
    (raises(console.UserError("No.")), 1, "error: No.\n"),
    (raises(console.UsageError("No.")), 2, "error: No.\n"),
    (raises(console.Interrupted("Saved.")), 130, "Saved.\n"),
    (raises(KeyboardInterrupt()), 130, ""),
    (raises(BrokenPipeError()), 141, ""),
    (raises(FileNotFoundError(2, "No such file", "a")), 1, "error: a: No such file.\n")])
def test_each_ending_has_its_code(main, code, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        console.run(main)
    assert (end.value.code,) + tuple(capsys.readouterr()) == (code, "", sentence)


def error_of(name, message):
    """Return an error as TensorFlow raises it, of a class of that name."""
    return type(name, (Exception,), {})(message)


OUT_OF_MEMORY = [
    MemoryError(), RuntimeError("can't start new thread"), error_of("ResourceExhaustedError", "OOM"),
    error_of("AbortedError", "Operation received an exception:Status: 1, message: could not create")]
OURS = [TypeError("'int' object is not iterable"), ValueError("no"), ModuleNotFoundError(
    "No module named 'support.none'", name="support.none"), error_of(
        "AbortedError", "Session was closed"), OSError("image file is truncated")]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_memory_that_runs_out_is_a_sentence(error, capsys):
    with pytest.raises(SystemExit):
        console.run(raises(error))
    assert capsys.readouterr().err == "error: out of memory, or no thread can be started.\n"


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_a_programming_error_stays_a_traceback(error):
    with pytest.raises(type(error)):
        console.run(raises(error))


def test_a_missing_package_is_a_sentence(capsys):
    with pytest.raises(SystemExit):
        console.run(raises(ModuleNotFoundError("No module named 'scipy.io'", name="scipy.io")))
    assert "not installed: scipy.io. To install" in capsys.readouterr().err


def test_no_character_of_a_path_breaks_a_line_or_fails():
    code = ("from support import console\n"
            "def main():\n"
            "    console.say('drew \\x1b[31m\\udcff/é.png\\nand')\n"
            "    raise console.UserError('no \\x07\\n\\u20ac')\n"
            "console.run(main)")
    done = run_command(sys.executable, "-c", code, env={"PYTHONIOENCODING": "ascii"})
    assert done.stdout == "drew \\x1b[31m\\xff/\\xe9.png\nand\n"
    assert done.stderr == "error: no \\x07\\n\\u20ac\n"


@pytest.mark.parametrize("program", [
    ["ex01_filters.py", "a.jpg"], ["ex02_fashion_cnn.py"], ["-m", "ex03_cifar.train"],
    ["-m", "ex03_cifar.evaluate"], ["tools/draw_course.py"]], ids=" ".join)
def test_wrong_usage_prints_no_control_character(program):
    done = run_command(sys.executable, *program + ["a\x1b[31m.jpg"])
    assert done.returncode == 2 and "arguments: a\\x1b[31m.jpg" in done.stderr


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_leads_nowhere(tmp_path, redirection):
    path = tmp_path / "file"
    code = ("import sys; from support import arguments, console; console.open_closed_streams(); "
            "stream = open(sys.argv[1], 'w'); print('told'); print('told', file=sys.stderr); "
            "print(sys.stdin.read(), file=stream)")
    done = run_command("sh", "-c", '"$0" -c "$1" "$2" ' + redirection, sys.executable, code,
                       str(path))
    assert done.returncode == 0 and path.read_text() == "\n"
    assert done.stdout == ("" if " >&-" in " " + redirection else "told\n")
    assert done.stderr == ("" if "2>&-" in redirection else "told\n")


def test_a_whole_number_is_made_of_digits():
    convert = arguments.whole_number(1, 10)
    assert convert("10") == 10
    for text in ("²", "0", "11", "1.0", "-1", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            convert(text)


def test_a_folder_is_made_or_a_sentence(tmp_path):
    assert (tmp_path / "new") == console.writable_folder(tmp_path / "new")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(console.UserError, match="nothing can be written to .*file: File exists"):
        console.writable_folder(str(tmp_path / "file"))
    assert not list((tmp_path / "new").iterdir())


NEVER_RELEASED = """
import os, signal, threading
from support import console
console.PATIENCE = 1
def main():
    lock = threading.Lock()
    lock.acquire()
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        lock.acquire()
console.run(main)
"""


SWALLOWED = """
import os, signal, time
def build():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        pass
"""


def test_an_interrupt_amid_tensorflows_code_ends_the_process_at_once(tmp_path):
    """Its C++ code turns the exception into another one, prints that, and continues."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("")
    (tmp_path / "tensorflow" / "nest.py").write_text(SWALLOWED)
    process = start_command(
        sys.executable, "-c", "from support import console\nfrom tensorflow import nest\n"
        "console.PATIENCE = 100\nconsole.run(nest.build)",
        env=dict(PYTHONPATH=os.pathsep.join((str(tmp_path), ROOT))))
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_an_interrupt_that_leaves_a_lock_held_ends_the_process_all_the_same():
    """As TensorFlow's graph may: its lock's release waits for a lock within it."""
    process = start_command(sys.executable, "-c", NEVER_RELEASED)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")
