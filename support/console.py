"""How every program of this repository reports: errors, exit codes, Ctrl-C, progress.

stdout is the result, everything else goes to stderr. Exit codes: 0 done; 1 something asked for was
not done; 2 wrong usage or no usable checkpoint; 130 interrupted by Ctrl-C.
"""
import _thread
import argparse
import contextlib
import errno
import os
import re
import signal
import stat
import sys
import time

from support.environment import ROOT as REPOSITORY
from support.environment import explain_missing, is_interactive, quoted

PATIENCE = 5  # seconds, from Ctrl-C to the end
# Where KeyboardInterrupt is not safe: TensorFlow's files, and the import of any module.
UNSAFE = re.compile(r"[/\\](tensorflow|tensorflow_core|tf_keras)[/\\]|^<frozen importlib")
OWN = "support", "figures", "ex03_cifar", "tools"
IMAGES = os.path.join(REPOSITORY, "images")


class UserError(Exception):
    """What the person at the keyboard has to know, in a sentence; `code` is the exit code."""

    code = 1


class UsageError(UserError):
    """Invalid or contradictory arguments."""

    code = 2


class Interrupted(UserError):
    """The program was interrupted (Ctrl-C, SIGTERM); the message says what was saved."""

    code = 130


def run(main):
    """Run a program to its exit code: `main()` returns one (None is 0) or raises a `UserError`.

    What the user can meet becomes a sentence; a programming error stays a traceback. Ctrl-C exits
    silently with code 130, and a reader that goes away (`| head -1`) with 141, as SIGPIPE does.
    """
    open_closed_streams()
    for stream in sys.stdout, sys.stderr:
        if hasattr(stream, "reconfigure"):  # no character fails in an encoding that lacks it
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN and not is_interactive():
        signal.signal(signal.SIGINT, interrupt)
    try:
        code = main() or 0
        sys.stdout.flush()
    except Interrupted as stop:
        print(printable(stop), file=sys.stderr)
        code = stop.code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        complain(sentence)
        code = getattr(error, "code", 1)
    leave(code)


def explain(error):
    """Return the sentence for an exception that the user can do something about, or None."""
    if isinstance(error, UserError):
        return str(error)
    if is_out_of_memory(error):
        return "out of memory, or no thread can be started."
    if isinstance(error, OSError) and error.errno is not None:
        return "%s%s." % ("" if error.filename is None else "%s: " % error.filename, reason(error))
    if isinstance(error, ModuleNotFoundError) and error.name.split(".")[0] not in OWN:
        return explain_missing([error.name])
    return None


def is_out_of_memory(error):
    """Whether memory ran out, according to Python, a thread, a library or TensorFlow."""
    kind, text = type(error).__name__, str(error)
    return (isinstance(error, MemoryError) or kind == "ResourceExhaustedError"
            or kind == "AbortedError" and "Status: 1," in text  # oneDNN's dnnl_out_of_memory
            or bool(re.search("start new thread|failed to map segment", text)))


def interrupt(number, frame):
    """Raise KeyboardInterrupt; where that is not safe, end the process at once.

    Within TensorFlow or an import the exception may be swallowed, come out as another one, or leave
    a lock held for which the process waits at its end. Elsewhere the process ends in time as well.
    """
    while frame:
        if UNSAFE.search(frame.f_code.co_filename):
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\n")  # below the progress bar
            os._exit(128 + number)
        frame = frame.f_back
    _thread.start_new_thread(lambda: (time.sleep(PATIENCE), os._exit(128 + number)), ())
    raise KeyboardInterrupt


def leave(code):
    """End the process; a stream without a reader does not add a traceback of its own."""
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def complain(sentence):
    """Print an error sentence on stderr."""
    with contextlib.suppress(OSError):
        print("error: %s" % printable(sentence), file=sys.stderr, flush=True)


class Parser(argparse.ArgumentParser):
    """argparse, which prints errors without the control characters that a file name may have."""

    def error(self, message):
        super(Parser, self).error(printable(message))


def decoded(text):
    """Return a path, or a text with one in it, as UTF-8 can hold it; other bytes as `\\xNN`."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:  # more than a path, in a locale that cannot write it
        encoded = text.encode("utf-8", "backslashreplace")
    return encoded.decode("utf-8", "backslashreplace")


def printable(text):
    """Return a text in one line, its control characters escaped (those of a path, say)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode()
                   for c in decoded(str(text)))


def open_closed_streams():
    """Connect the streams that the caller closed (`2>&-`) to the null device.

    Otherwise the first file that is opened gets their number, and errors are written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def reason(error):
    """Return the message of an OSError or of TensorFlow's error, in one line without a full stop.

    TensorFlow wraps the system's message in its own report; only the former helps.
    """
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    for system in (os.strerror(number) for number in errno.errorcode):
        if text.endswith(system) or "; " + system in text:
            return system
    return " ".join(text.split()).rstrip(".")[:300] or type(error).__name__


def open_regular(path):
    """Open a file for reading bytes; a FIFO in its place is not waited for.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return open(path, "rb")


def command(program, folder, default):
    """Return the command line of `program` for the checkpoint `folder`, to be advised."""
    if os.path.realpath(folder) == os.path.realpath(default):
        return program
    return "%s --checkpoint-dir %s" % (program, quoted(folder))


def progress(total, unit, initial=0, always=False):
    """Return a tqdm bar on stderr, shown on a terminal only.

    Args:
        always: without a terminal print a line every 30 s, for the log of a long run.
    """
    from tqdm import tqdm  # here: its import takes time, and many programs end before
    terminal = sys.stderr.isatty()
    return tqdm(total=total, initial=initial, unit=unit, unit_scale=total > 10000,
                dynamic_ncols=True, mininterval=0.5 if terminal else 30,
                disable=not (terminal or always))


def say(text):
    """Print lines on stdout at once, above a progress bar, control characters escaped."""
    from tqdm import tqdm
    with tqdm.external_write_mode():
        print("\n".join(printable(line) for line in text.split("\n")), flush=True)


def writable_folder(path):
    """Make the folder and return it, once a file has been written there for a trial.

    Raises:
        UserError: none can be.
    """
    import tempfile
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError("nothing can be written to %s: %s." % (path, reason(error)))
    return path
