"""What Windows and macOS lack, taken away on Linux: `prepare` functions that change their process.

Names that a system lacks are mypy's to find (test_portable.py); here is what a program meets there.
"""
import builtins
import errno
import fcntl
import os
import shutil
import sys

from helpers import ROOT

_open, _fsync, _os_open = builtins.open, os.fsync, os.open


def macos():
    """No /proc, and no processors assigned to a process."""
    del os.sched_getaffinity
    os.process_cpu_count = os.cpu_count  # Python 3.13's calls the former
    builtins.open = lambda path, *more, **options: _open(without_proc(path), *more, **options)


def windows():
    """No `resource` either; files that are open are neither replaced nor removed, folders are not
    opened, text of this repository has the code page's encoding and CR LF by default."""
    macos()
    sys.modules["resource"] = None
    builtins.open, os.open, os.fsync = open_in_code_page, refuse_folders, sync_for_writing_only
    rename = os.rename
    os.replace, os.rename = refusing(os.replace, 2), refusing(os.rename, 2, rename)
    os.remove, os.unlink = refusing(os.remove, 1), refusing(os.unlink, 1)
    shutil._use_fd_functions = False  # it removes by path there


def without_proc(path):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
    return path


def open_in_code_page(path, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more):
    if "b" not in mode and is_own(sys._getframe(1)):
        encoding = encoding or "cp1252"
        newline = "\r\n" if newline is None and "r" not in mode else newline
    return _open(without_proc(path), mode, buffering, encoding, errors, newline, **more)


def is_own(frame):
    """Return whether code is this repository's, and not of its tests."""
    path = os.path.relpath(frame.f_globals.get("__file__") or "/", ROOT)
    return not path.startswith(("..", "tests", ".venv"))


def refuse_folders(path, *arguments, **options):
    if os.path.isdir(path) and is_own(sys._getframe(1)):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _os_open(path, *arguments, **options)


def sync_for_writing_only(file):
    number = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(file)


def refusing(change, places, rename=None):
    """Return a change of files that is refused where this process has one of them open."""
    def changed(*paths, **options):
        opened = set()
        for number in os.listdir("/proc/self/fd"):
            try:
                opened.add(os.readlink("/proc/self/fd/" + number))
            except OSError:
                pass
        for path in paths[:places]:
            if options.get("dir_fd") is None and os.path.realpath(path) in opened:
                raise PermissionError(errno.EACCES, "Permission denied", path)
        if rename and os.path.lexists(paths[1]):
            raise FileExistsError(errno.EEXIST, "File exists", paths[0], None, paths[1])
        return change(*paths, **options)
    return changed
