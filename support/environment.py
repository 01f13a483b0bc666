"""What a program checks before it imports a package: Ctrl-C, Python's version, the packages.

Only the standard library is imported and the syntax is Python 3.6's, so that any Python 3 can say
what is wrong. The sentences that every program has in common stand here, in each language.
"""
import contextlib
import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WINDOWS = os.name == "nt"
STOPPING = signal.SIGINT, signal.SIGTERM
ENGLISH = {
    "error": "error: %s",
    "python": "no TensorFlow for Python %s works here: use Python 3.10, 3.11, 3.12 or 3.13 (or "
              "3.7, which has TensorFlow 1.15).",
    "packages": "these packages are not installed: %s. To install them: %s",
    "memory": "out of memory, or no thread can be started.",
    "file": "{path}: {reason}.",
    "system": "{reason}.",
    "arguments": ()}
FRENCH = {
    "error": "Erreur: %s.",
    "python": "TensorFlow n'existe pas pour Python %s ; il faut Python 3.10, 3.11, 3.12 ou 3.13 "
              "(ou 3.7, avec TensorFlow 1.15)",
    "packages": "il manque %s ; pour l'installer : %s",
    "memory": "la mémoire ne suffit pas",
    "file": "le système refuse l'accès à {path} ({code})",
    "system": "le système refuse l'accès à un fichier ({code})",
    "arguments": (  # of argparse's sentences
        (r"^argument ", "l'option "), (r"^unrecognized arguments", "option inconnue "),
        (r": expected one argument", " attend une valeur"),
        (r": ignored explicit argument .*", " n'attend pas de valeur"))}


def check(*packages, language=ENGLISH):
    """Return where the program can run, or continue in the repository's `.venv` where that can.

    Otherwise the program ends with code 2, after a sentence.

    Args:
        packages: names of modules that it needs besides NumPy, Pillow, TensorFlow and tqdm.
    """
    end_on_interrupts()
    import importlib.util  # here, so that Ctrl-C is heard early
    version = sys.version_info[:2]
    wrong = version < (3, 7) or version in ((3, 8), (3, 9))
    wanted = {"numpy", "PIL", "tensorflow", "tqdm"}.union(packages)
    if version == (3, 7):
        wanted.discard("tf_keras")  # is a part of TensorFlow 1.15
    missing = sorted(name for name in wanted if importlib.util.find_spec(name) is None)
    if not wrong and not missing:
        return
    _go_on_in_own_environment()
    if wrong or version > (3, 13):
        complain(language["python"] % ".".join(map(str, version)), language)
    else:
        complain(language["packages"] % (", ".join(missing), "%s -m pip install -r %s" % (
            quoted(sys.executable), quoted(os.path.join(ROOT, "requirements.txt")))), language)
    sys.exit(2)


def complain(sentence, language=ENGLISH):
    """Print an error on stderr, in one line."""
    with contextlib.suppress(OSError):
        print(language["error"] % printable(sentence), file=sys.stderr, flush=True)


def decoded(text):
    """Return a path, or a text with one in it, as UTF-8 can hold it; other bytes as `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(text):
    """Return a text in one line, its control characters escaped (those of a path, say)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode()
                   for c in decoded(str(text)))


def end_on_interrupts():
    """Let Ctrl-C and SIGTERM end the process at once, with code 130 or 143.

    Nothing is lost by that: files are put in their places whole (`console.postponed_interrupts`).
    An exception in the middle of TensorFlow or an import could be swallowed, come out as another
    one, or leave a lock held for which the process waits at its end.
    """
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN and not is_interactive():
            signal.signal(number, interrupt)


def interrupt(number, frame):
    """Handle a signal: end the process."""
    with contextlib.suppress(Exception):
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), b"\n")  # below the progress bar
    leave(128 + number)


def leave(code):
    """End at once: all is written, and taking TensorFlow down in good order would take a second."""
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(Exception):  # without a reader, say
            stream.flush()
    if is_interactive():
        sys.exit(code)
    os._exit(code)


def is_interactive():
    """Whether this is an interactive interpreter (Jupyter, IPython), which no program may end."""
    return bool(hasattr(sys, "ps1") or sys.flags.interactive
                or sys.stdout is not None and not hasattr(sys.stdout, "buffer"))


def quoted(path):
    """Return a path as it is written in a command line."""
    import shlex
    return '"%s"' % path if WINDOWS else shlex.quote(path)


def cores():
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _go_on_in_own_environment():
    folder = os.path.join(ROOT, ".venv")
    python = os.path.join(folder, *(("Scripts", "python.exe") if WINDOWS else ("bin", "python3")))
    within = os.path.realpath(folder) == os.path.realpath(sys.prefix)
    if within or is_interactive() or not os.access(python, os.X_OK):
        return
    spec = sys.modules["__main__"].__spec__
    command = [python] + (["-m", spec.name] if spec else sys.argv[:1]) + sys.argv[1:]
    if not WINDOWS:
        os.execv(python, command)
    import subprocess  # Windows' execv returns to the shell at once
    signal.signal(signal.SIGINT, lambda *_: None)  # the child gets it, too
    sys.exit(subprocess.call(command))
