"""How every program of this repository reports: errors, exit codes, Ctrl-C, progress.

stdout is the result, everything else goes to stderr. Exit codes: 0 done; 1 something asked for was
not done; 2 wrong usage or no usable checkpoint; 130 interrupted by Ctrl-C.
"""
import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import threading

from support.environment import (ENGLISH, STOPPING, WINDOWS, complain, end_on_interrupts,
                                 is_interactive, leave, printable, quoted)
from support.environment import ROOT as REPOSITORY

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


def run(main, language=ENGLISH):
    """Run a program to its exit code: `main()` returns one (None is 0) or raises a `UserError`.

    What the user can meet becomes a sentence; a programming error stays a traceback. Ctrl-C exits
    silently with code 130, and a reader that goes away (`| head -1`) with 141, as SIGPIPE does.
    """
    open_closed_streams()
    choose_encodings()
    end_on_interrupts()
    try:
        code = main() or 0
        sys.stdout.flush()
    except Interrupted as stop:
        print(printable(stop), file=sys.stderr)
        code = stop.code
    except Exception as error:
        sentence = explain(error, language)
        if is_reader_gone(error):
            code = 141
        elif sentence is None:
            raise
        else:
            complain(sentence, language)
            code = getattr(error, "code", 1)
    leave(code)


def explain(error, language):
    """Return the sentence for an exception that the user can do something about, or None."""
    if isinstance(error, UserError):
        return str(error)
    if is_out_of_memory(error):
        return language["memory"]
    if isinstance(error, OSError) and error.errno is not None:
        return language["system" if error.filename is None else "file"].format(
            path=error.filename, reason=reason(error), code=errno.errorcode.get(error.errno))
    return None


def is_reader_gone(error):
    """Return whether what reads a stream has ended; Windows has a second number for that."""
    return isinstance(error, OSError) and error.filename is None and (
        error.errno == errno.EPIPE or WINDOWS and error.errno == errno.EINVAL)


def is_out_of_memory(error):
    """Whether memory ran out, according to Python, a thread, a library or TensorFlow."""
    kind, text = type(error).__name__, str(error)
    return (isinstance(error, MemoryError) or kind == "ResourceExhaustedError"
            or kind == "AbortedError" and "Status: 1," in text  # oneDNN's dnnl_out_of_memory
            or bool(re.search("start new thread|failed to map segment", text)))


@contextlib.contextmanager
def postponed_interrupts():
    """Let the first Ctrl-C or SIGTERM wait until the block has ended, whichever thread it reaches.

    The context gives a list to which the signal's number is then appended, for a loop to look at.
    A person who insists is not kept waiting. Python runs its handlers in the main thread only, so
    replacing them there suffices; elsewhere than there nothing changes.
    """
    arrived, is_main = [], threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOPPING
                if is_main and callable(signal.getsignal(number))}

    def postpone(number, frame):
        arrived.append(number)
        if len(arrived) > 1:
            handlers[number](number, frame)

    for number in handlers:
        signal.signal(number, postpone)
    try:
        yield arrived
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in arrived:  # unless an exception tells what happened
        handlers[number](number, None)


def choose_encodings():
    """Have stdout and stderr write UTF-8, or what a terminal or PYTHONIOENCODING asks for."""
    for stream in sys.stdout, sys.stderr:
        if not hasattr(stream, "reconfigure"):
            continue  # a notebook's, which takes text
        encoding = "utf-8"
        with contextlib.suppress(LookupError, UnicodeEncodeError):  # ASCII has no French
            if stream.isatty() or "PYTHONIOENCODING" in os.environ:
                "é".encode(stream.encoding)
                encoding = stream.encoding
        # No character fails in an encoding that lacks it.
        stream.reconfigure(encoding=encoding, errors="backslashreplace")


def silence_libraries():
    """Keep file descriptor 2, where TensorFlow and libtiff write as they like, from the user.

    Not before another Python may take over, which needs it for its own errors.
    """
    if is_interactive():
        return
    sys.stderr = open(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Parser(argparse.ArgumentParser):
    """argparse in the language of a program; a file name's control characters are escaped."""

    def __init__(self, *arguments, language=ENGLISH, **options):
        super(Parser, self).__init__(*arguments, **options)
        self.language = language

    def error(self, message):
        for pattern, words in self.language["arguments"]:
            message = re.sub(pattern, words, message)
        print((self.format_usage() or self.description.split("\n")[0]).rstrip(), file=sys.stderr)
        complain(message, self.language)
        sys.exit(2)

    def _print_message(self, message, file=None):
        print(message.rstrip(), file=file, flush=True)


def open_closed_streams():
    """Connect closed streams (`2>&-`) to the null device: no file may get a stream's number."""
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):
        if getattr(sys, name) is None:  # the lowest free number is this stream's
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def reason(error):
    """Return the message of an error, or the system's in it, in one line without a full stop."""
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    for system in (os.strerror(number) for number in errno.errorcode):
        if text.endswith(system) or "; " + system in text:
            return system
    return " ".join(text.split()).rstrip(".")[:300] or type(error).__name__


def command(program, folder, default):
    """Return the command line of `program` for the checkpoint `folder`, to be advised."""
    if os.path.realpath(folder) == os.path.realpath(default):
        return program
    return "%s --checkpoint-dir %s" % (program, quoted(folder))


def progress(total, unit, initial=0, always=False):
    """Return a tqdm bar on a terminal; elsewhere, if `always`, a line every 30 s for the log."""
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
    """Make the folder and return it, once a file has been written there for a trial."""
    import tempfile
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise UserError("nothing can be written to %s: %s." % (path, reason(error)))
    return path
