"""One dialect for all programs: exit codes, error sentences, streams that are closed."""
import os
import signal
import sys

import pytest
from helpers import run_command

from support import console, environment


def raises(error):
    def main():
        raise error
    return main


def error_of(name, message):
    """Return an error as TensorFlow raises it, of a class of that name."""
    return type(name, (Exception,), {})(message)


OUT_OF_MEMORY = "error: out of memory, or no thread can be started.\n"


@pytest.mark.parametrize("main, code, sentence", [
    (lambda: None, 0, ""),
    (lambda: 1, 1, ""),
    (raises(console.UserError("No.")), 1, "error: No.\n"),
    (raises(console.UsageError("No.")), 2, "error: No.\n"),
    (raises(console.Interrupted("Saved.")), 130, "Saved.\n"),
    (raises(BrokenPipeError(32, "Broken pipe")), 141, ""),
    (raises(FileNotFoundError(2, "No such file", "a")), 1, "error: a: No such file.\n"),
    (raises(MemoryError()), 1, OUT_OF_MEMORY),
    (raises(RuntimeError("can't start new thread")), 1, OUT_OF_MEMORY),
    (raises(error_of("ResourceExhaustedError", "OOM")), 1, OUT_OF_MEMORY),
    (raises(error_of("AbortedError", "exception:Status: 1, message: could not create")), 1,
     OUT_OF_MEMORY)])
def test_each_ending_has_its_code(main, code, sentence, ending):
    assert ending(main) == (code, "", sentence)


@pytest.mark.parametrize("error", [
    TypeError("'int' object is not iterable"), error_of("AbortedError", "Session was closed"),
    OSError("image file is truncated")], ids=lambda error: type(error).__name__)
def test_a_programming_error_stays_a_traceback(error):
    with pytest.raises(type(error)):
        console.run(raises(error))


def test_no_character_of_a_path_breaks_a_line_or_fails():
    code = ("from support import console\n"
            "def main():\n"
            "    console.say('drew \\x1b[31m\\udcff/é.png\\nand')\n"
            "    raise console.UserError('no \\x07\\n\\u20ac')\n"
            "console.run(main)")
    for encoding, shown in ("cp850", "\\u20ac"), ("ascii", "\u20ac"):  # UTF-8, in which all is
        done = run_command(sys.executable, "-c", code, env={"PYTHONIOENCODING": encoding},
                           encoding="utf-8" if encoding == "ascii" else encoding)
        assert done.stdout == "drew \\x1b[31m\\xff/\xe9.png\nand\n"
        assert done.stderr == "error: no \\x07\\n%s\n" % shown


def test_wrong_usage_prints_no_control_character(capsys):
    with pytest.raises(SystemExit, match="2"):
        console.Parser().parse_args(["a\x1b[31m.jpg"])
    assert "arguments: a\\x1b[31m.jpg" in capsys.readouterr().err


def test_a_folder_is_made_or_a_sentence(tmp_path):
    assert (tmp_path / "new") == console.writable_folder(tmp_path / "new")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(console.UserError, match="nothing can be written to .*file: File exists"):
        console.writable_folder(str(tmp_path / "file"))
    assert not list((tmp_path / "new").iterdir())


INTERRUPTED = """
import os, signal, threading
from support import console
def main():
    lock = threading.Lock()
    lock.acquire()
    try:
        os.kill(os.getpid(), signal.%s)
    except BaseException:
        print("swallowed")
    finally:
        lock.acquire()
console.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_process_at_once_whatever_it_does(number):
    """TensorFlow turns an exception into another one, or leaves a lock held that it waits for."""
    done = run_command(sys.executable, "-c", INTERRUPTED % number.name, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


@pytest.fixture
def came(monkeypatch):
    """The codes with which this process was to end at a signal, a list."""
    handlers, codes = [(number, signal.getsignal(number)) for number in environment.STOPPING], []
    monkeypatch.setattr(environment, "leave", codes.append)
    environment.end_on_interrupts()
    yield codes
    for number, handler in handlers:
        signal.signal(number, handler)


def test_an_interrupt_waits_for_the_end_of_a_block_unless_the_user_insists(came):
    with console.postponed_interrupts() as arrived:
        os.kill(os.getpid(), signal.SIGINT)
        with console.postponed_interrupts() as inner:
            assert arrived == [signal.SIGINT] and inner == came == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner == [signal.SIGTERM] and came == []
        assert came == [128 + signal.SIGTERM]  # the second within the outer one
    assert came[-2:] == [128 + signal.SIGINT, 128 + signal.SIGTERM]
    del came[:]
    with pytest.raises(ValueError):
        with console.postponed_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("what happened")
    assert came == []
