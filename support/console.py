"""How every program of this repository talks: errors, exit codes, Ctrl-C, progress, option types.

stdout is the answer, stderr is the talk. Exit codes: 0 done; 1 something asked for was not done;
2 wrong usage or no usable checkpoint; 130 stopped by Ctrl-C.
"""
import argparse
import contextlib
import errno
import os
import re
import shlex
import signal
import stat
import sys
import threading

from support.environment import is_interactive

PATIENCE = 5  # seconds, from Ctrl-C to the end
TENSORFLOW = re.compile(r"[/\\](tensorflow|tensorflow_core|tf_keras)[/\\]")  # its files

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMAGES = os.path.join(REPOSITORY, "images")


class UserError(Exception):
    """What the person at the keyboard has to know, in a sentence; `code` is the exit code."""

    code = 1


class UsageError(UserError):
    """The command cannot be meant like this."""

    code = 2


class MissingPackage(UserError):
    """A package is not installed, says a ModuleNotFoundError."""

    def __init__(self, error):
        super(MissingPackage, self).__init__(
            "%s; install what is missing by: python -m pip install -r %s"
            % (error, os.path.join(REPOSITORY, "requirements.txt")))


class Interrupted(UserError):
    """The program was interrupted (Ctrl-C, SIGTERM); the message says what was saved."""

    code = 130


def run(main):
    """Run a program to its exit code: `main()` returns one (None is 0) or raises a `UserError`.

    Ctrl-C ends it without a word, and surely. A reader who went away (`| head -1`) ends it as any command.
    """
    open_closed_streams()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN and not is_interactive():
        signal.signal(signal.SIGINT, interrupt)
    try:
        code = main() or 0
        sys.stdout.flush()
    except Interrupted as stop:
        print(printable(stop), file=sys.stderr)
        code = stop.code
    except UserError as error:
        complain(error)
        code = error.code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 128 + signal.SIGPIPE
    except OSError as error:
        complain("%s." % reason(error) if error.filename is None
                 else "%s: %s." % (error.filename, reason(error)))
        code = 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        complain("the memory does not suffice, or no thread can be started.")
        code = 1
    leave(code)


def is_out_of_memory(error):
    """Whether an error says that memory ran out: Python's, a thread's, a library's, TensorFlow's."""
    return (isinstance(error, MemoryError)
            or type(error).__name__ in ("ResourceExhaustedError", "AbortedError")  # its oneDNN's
            or bool(re.search("start new thread|failed to map segment", str(error))))


def interrupt(number, frame):
    """Raise KeyboardInterrupt, as Ctrl-C does; but amid TensorFlow's code end the process at once.

    There the exception may be swallowed, or leave a lock held on whose release its own end waits.
    Should that happen elsewhere, the process ends all the same, in time.
    """
    while frame:
        if TENSORFLOW.search(frame.f_code.co_filename):
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\n")  # after what is there of a progress bar
            os._exit(128 + number)
        frame = frame.f_back
    signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number))
    signal.alarm(PATIENCE)
    raise KeyboardInterrupt


def leave(code):
    """End the process; a stream that nobody reads any more does not add a traceback of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


@contextlib.contextmanager
def sudden_interruption():
    """Let Ctrl-C end the process at once, without a KeyboardInterrupt.

    Raised amid the import of a library in C, that exception may come out as an ImportError.
    Nothing changes where another handler is set, or in a thread, which may set none.
    """
    handler = signal.getsignal(signal.SIGINT)
    raising = handler in (signal.default_int_handler, interrupt)
    if not raising or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def complain(sentence):
    """Print an error sentence on stderr."""
    with contextlib.suppress(OSError):
        print("error: %s" % printable(sentence), file=sys.stderr, flush=True)


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
    """Let the streams that the caller closed (`2>&-`) lead nowhere, so that all may be written to.

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
            setattr(sys, name, open(number, mode, closefd=False))


def reason(error):
    """Return what an OSError or an error of TensorFlow's says, in one line without a final stop.

    TensorFlow wraps what the system said in its own report; that part alone helps.
    """
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    for system in (os.strerror(number) for number in errno.errorcode):
        if text.endswith(system) or "; " + system in text:
            return system
    return " ".join(text.split()).rstrip(".")[:300] or type(error).__name__


def open_regular(path):
    """Open a file for reading bytes; a FIFO in its place is not waited for.

    Raises:
        OSError: it cannot be opened, or is no ordinary file.
    """
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return stream


def command(program, folder, default):
    """Return the command line that fills the checkpoint `folder`, for a sentence that advises it."""
    if os.path.realpath(folder) == os.path.realpath(default):
        return program
    return "%s --checkpoint-dir %s" % (program, shlex.quote(folder))


def picture_folder(folder, default):
    """Return where pictures of the checkpoint `folder` are drawn: one that is kept apart has its own."""
    released = os.path.realpath(folder) == os.path.realpath(default)
    return IMAGES if released else os.path.abspath(folder)


def progress(total, unit, initial=0, always=False):
    """Return a tqdm bar on stderr, shown on a terminal only.

    Args:
        always: write a line now and then where there is no terminal, for the log of a long run.
    """
    from tqdm import tqdm  # here: its import takes time, and many programs end before
    terminal = sys.stderr.isatty()
    return tqdm(total=total, initial=initial, unit=unit, unit_scale=total > 10000,
                dynamic_ncols=True, mininterval=0.5 if terminal else 30,
                disable=not (terminal or always))


def say(text):
    """Print a line on stdout, above a bar and at once, even where stdout is a file or a pipe."""
    from tqdm import tqdm
    with tqdm.external_write_mode():
        print(text, flush=True)


def png_path(text):
    """An argparse type: the absolute path of a picture to draw, in a folder that is there."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError("%r does not end in .png" % text)
    return os.path.abspath(text)


def writable_folder(path):
    """Make the folder, and make sure that files can be written there before time is spent on them.

    Raises:
        UserError: they cannot.
    """
    import tempfile
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError("nothing can be written to %s: %s." % (path, reason(error)))
    return path
