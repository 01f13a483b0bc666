"""What a program checks before it imports a package: Ctrl-C, Python's version, the packages.

Only the standard library is imported and the syntax is Python 3.6's, so that any Python 3 can say
what is wrong.
"""
import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WINDOWS = os.name == "nt"
SENTENCES = {
    "python": "no TensorFlow for Python %s works here: use Python 3.10, 3.11, 3.12 or 3.13 (or "
              "3.7, which has TensorFlow 1.15).",
    "packages": "these packages are not installed: %s. To install them: %s",
    "docstrings": "tf-keras needs docstrings: run Python without -OO and without PYTHONOPTIMIZE=2."}


def complain(sentence):
    print("error: " + sentence, file=sys.stderr)


def check(*packages, sentences=SENTENCES, complain=complain):
    """Return where the program can run, or continue in the repository's `.venv` where that can.

    Otherwise the program ends with code 2, after `complain(sentence)`.

    Args:
        packages: names of modules that it needs besides NumPy, Pillow, TensorFlow and tqdm.
        sentences: what may be wrong, in the user's language, by the keys of SENTENCES.
    """
    end_on_ctrl_c()
    version = sys.version_info[:2]
    wrong = version < (3, 7) or version in ((3, 8), (3, 9))
    wanted = {"numpy", "PIL", "tensorflow", "tqdm"}.union(packages)
    if version == (3, 7):
        wanted.discard("tf_keras")  # is a part of TensorFlow 1.15
    missing = sorted(name for name in wanted if not _is_installed(name))
    if wrong or missing:
        _go_on_in_own_environment()
    if wrong or missing and version > (3, 13):
        complain(sentences["python"] % ".".join(map(str, version)))
    elif missing:
        complain(explain_missing(missing, sentences))
    elif "tf_keras" in wanted and sys.flags.optimize > 1:
        complain(sentences["docstrings"])
    else:
        return
    sys.exit(2)


def explain_missing(packages, sentences=SENTENCES):
    """Return the sentence about packages that are not installed."""
    return sentences["packages"] % (", ".join(packages), "%s -m pip install -r %s" % (
        quoted(sys.executable), quoted(os.path.join(ROOT, "requirements.txt"))))


def end_on_ctrl_c():
    """Let Ctrl-C end the process quietly with code 130, as long as no other handler is set."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and not is_interactive():
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def is_interactive():
    """Whether this is an interactive interpreter (Jupyter, IPython), which no program may end."""
    return bool(hasattr(sys, "ps1") or sys.flags.interactive
                or sys.stdout is not None and not hasattr(sys.stdout, "buffer"))


def quoted(path):
    """Return a path as it is written in a command line."""
    import shlex  # here, so that Ctrl-C is heard early
    return '"%s"' % path if WINDOWS else shlex.quote(path)


def _is_installed(name):
    import importlib.util
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


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
