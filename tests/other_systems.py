"""What Windows and macOS lack, taken away on Linux from the code of this repository.

Names and modules are hidden from this repository's files only, for the standard library of a Linux
needs them; what a system does otherwise with files (an open one is neither replaced nor removed)
holds for all code. `windows` and `macos` change the running process.
"""
import builtins
import errno
import fcntl
import importlib
import os
import shutil
import sys
import types

from helpers import ROOT

POSIX_ONLY = {
    "os": "O_NONBLOCK O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_SYNC SEEK_HOLE WNOHANG chown chroot "
          "confstr ctermid fchdir fchmod fchown fdatasync fork forkpty getegid geteuid getgid "
          "getgroups getloadavg getpgid getpgrp getpriority getsid getuid initgroups kill killpg "
          "lchown lockf major minor mkfifo mknod nice openpty pathconf posix_fadvise "
          "posix_fallocate posix_spawn pread pwrite register_at_fork sched_getaffinity "
          "sched_setaffinity sched_yield sendfile set_blocking setpgid setpriority setsid setuid "
          "statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 waitid",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 "
              "SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill "
              "pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait",
    "socket": "AF_NETLINK AF_PACKET AF_UNIX SO_BINDTODEVICE SO_REUSEPORT TCP_CORK TCP_USER_TIMEOUT",
    "select": "epoll kqueue poll"}
LINUX_ONLY = {
    "os": "O_DIRECT O_PATH O_TMPFILE memfd_create pidfd_open posix_fadvise posix_fallocate "
          "sched_getaffinity sched_setaffinity sched_getparam setresuid",
    "signal": "SIGPOLL SIGPWR SIGRTMIN SIGSTKFLT pthread_getcpuclockid sigtimedwait sigwaitinfo",
    "socket": "AF_NETLINK AF_PACKET SO_BINDTODEVICE TCP_CORK TCP_KEEPIDLE TCP_USER_TIMEOUT",
    "select": "epoll"}
POSIX_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def windows():
    hide(POSIX_ONLY, POSIX_MODULES)
    refuse_to_change_open_files()
    builtins.open = windows_open
    hidden["os"].open = refuse_folders
    os.fsync = sync_for_writing_only


def macos():
    hide(LINUX_ONLY, set())


hidden = {}  # name of a module -> what own code sees instead
_open, _fsync, _os_open = builtins.open, os.fsync, os.open


def is_own(frame):
    """Whether code is of this repository; its tests are not meant."""
    path = os.path.join(ROOT, frame.f_globals.get("__file__") or "/")
    return path.startswith(ROOT + os.sep) and "site-packages" not in path and (
        not path.startswith(os.path.join(ROOT, "tests")))


def hide(names, modules):
    """Hide names of modules, and whole modules, from own code, imported already or later."""
    for module, absent in names.items():
        whole = importlib.import_module(module)
        hidden[module] = types.ModuleType(module)
        hidden[module].__getattr__ = lambda name, whole=whole, absent=set(absent.split()): (
            missing(whole.__name__, name) if name in absent else getattr(whole, name))

    def limited(import_module):
        def load(name, *arguments, **options):
            if not is_own(sys._getframe(1)):
                return import_module(name, *arguments, **options)
            if name.split(".")[0] in modules:
                raise ModuleNotFoundError("No module named %r" % name, name=name)
            return hidden.get(name.split(".")[0]) or import_module(name, *arguments, **options)
        return load

    builtins.__import__ = limited(builtins.__import__)
    importlib.import_module = limited(importlib.import_module)
    for module in list(sys.modules.values()):
        if is_own(types.SimpleNamespace(f_globals=getattr(module, "__dict__", {}))):
            for name in hidden:
                if getattr(module, name, None) is sys.modules[name]:
                    setattr(module, name, hidden[name])

    listdir = os.listdir
    hidden["os"].listdir = lambda path=".": listdir(without_proc(path))
    builtins.open = lambda file, *arguments, **options: _open(
        without_proc(file) if is_own(sys._getframe(1)) else file, *arguments, **options)


def missing(module, name):
    raise AttributeError("module %r has no attribute %r" % (module, name))


def without_proc(path):
    if str(path).startswith("/proc"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
    return path


def windows_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more):
    """As open() of own code does there: text has the code page's encoding, and CR LF."""
    if is_own(sys._getframe(1)):
        without_proc(file)
        if "b" not in mode:
            encoding = encoding or "cp1252"
            if newline is None and "r" not in mode:
                newline = "\r\n"
    return _open(file, mode, buffering, encoding, errors, newline, **more)


def refuse_folders(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _os_open(path, *arguments, **options)


def sync_for_writing_only(file):
    number = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(file)


def refuse_to_change_open_files():
    """Refuse to replace, rename or remove a file that this process has open."""
    def refusing(change, places):
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
            if change is rename and os.path.lexists(paths[1]):
                raise FileExistsError(errno.EEXIST, "File exists", paths[0], None, paths[1])
            return change(*paths, **options)
        return changed

    rename = os.rename
    os.replace, os.rename = refusing(os.replace, 2), refusing(os.rename, 2)
    os.remove, os.unlink = refusing(os.remove, 1), refusing(os.unlink, 1)
    shutil._use_fd_functions = False  # it removes by path there
