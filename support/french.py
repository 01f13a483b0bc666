"""The French of `predict`: its streams, and argparse's sentences.

What it says is UTF-8 in files and pipes, whatever the locale; a terminal has its own encoding.
"""
import argparse
import atexit
import contextlib
import errno
import os
import re
import signal
import sys
import warnings

from support.console import is_out_of_memory, open_closed_streams, printable
from support.environment import is_interactive

PACKAGES = {
    "python": "TensorFlow n'existe pas pour Python %s ; il faut Python 3.10, 3.11, 3.12 ou 3.13 "
              "(ou 3.7, avec TensorFlow 1.15)",
    "packages": "il manque %s ; pour l'installer : %s"}


def run(main):
    """Run a program to the exit code that `main()` returns, or for which the system is to blame."""
    open_closed_streams()
    _choose_encodings()
    if not is_interactive():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: leave(128 + number))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about unusual files
            code = main()
    except OSError as error:
        complain("le système refuse l'accès à %s (%s)" % (
            printable(error.filename or "un fichier"), errno.errorcode.get(error.errno)))
        code = 1
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        complain("la mémoire ne suffit pas")
        code = 1
    leave(code)


def _choose_encodings():
    """Have stdout and stderr write UTF-8, or what a terminal or PYTHONIOENCODING asks for."""
    for stream in (sys.stdout, sys.stderr):
        if not hasattr(stream, "reconfigure"):
            continue  # a notebook's, which takes text
        encoding = "utf-8"
        with contextlib.suppress(LookupError, UnicodeEncodeError):  # ASCII has no French
            if stream.isatty() or "PYTHONIOENCODING" in os.environ:
                "é".encode(stream.encoding)
                encoding = stream.encoding
        stream.reconfigure(encoding=encoding, errors="backslashreplace")


def silence_libraries():
    """Keep file descriptor 2, where TensorFlow and libtiff write as they like, from the user.

    Not before another Python may take over, which needs it for its own errors.
    """
    if is_interactive():
        return
    encoding = sys.stderr.encoding
    sys.stderr = open(os.dup(2), "w", encoding=encoding, errors="backslashreplace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def write(text):
    """Print a line of the result; end where it cannot be written, quietly where nobody reads."""
    try:
        print(text, flush=True)
    except OSError as error:
        # Windows has the second number for a reader that went away.
        if error.errno == errno.EPIPE or os.name == "nt" and error.errno == errno.EINVAL:
            leave(141)  # as by SIGPIPE
        complain("la prédiction ne peut pas être écrite (%s)" % errno.errorcode.get(error.errno))
        leave(1)


def complain(sentence):
    """Print an error on stderr."""
    with contextlib.suppress(OSError):
        print("Erreur: %s." % sentence, file=sys.stderr, flush=True)


def leave(code):
    """End at once: all is written, and taking TensorFlow down in good order would take a second."""
    if is_interactive():
        sys.exit(code)
    if "matplotlib" in sys.modules:
        atexit._run_exitfuncs()  # it may have made a folder for its cache
    os._exit(code)


class Parser(argparse.ArgumentParser):
    """argparse in French; the usage is a part of the description."""

    def error(self, message):
        for pattern, french in (
                (r"^argument ", "l'option "),
                (r": expected one argument", " attend une valeur"),
                (r": ignored explicit argument .*", " n'attend pas de valeur")):
            message = re.sub(pattern, french, message)
        print(self.description.splitlines()[0], file=sys.stderr)
        complain(message)
        leave(2)

    def _print_message(self, message, file=None):
        write(message.rstrip())
