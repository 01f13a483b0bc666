"""Checkpoints that are whole or refused: `tf.train.Saver` files, sealed by a list of digests.

A checkpoint is a folder with the files `weights-ID.index` and `weights-ID.data-00000-of-00001`
of a Saver, possibly notes beside them (`weights-ID.json`), and `SHA256SUMS`, which `sha256sum -c`
reads. TensorFlow checks the tensors that it reads but neither the whole index nor that the two
files belong together; the digests cover every byte. `SHA256SUMS` is replaced last and in one
step, so that a reader, or a machine that stops in between, finds the old checkpoint or the new.
"""
import contextlib
import hashlib
import os
import re
import shutil
import tempfile

from support.console import UserError, open_regular, reason
from support.tf1 import tf

SEAL = "SHA256SUMS"
SAVER_FILES = ".index", ".data-00000-of-00001"
UNFINISHED = ".unfinished-"


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or foreign, or cannot be written.

    Where one cannot be used, `path` is the file or folder that is at fault and `problem` one of
    "missing", "damaged", "unreadable" and "foreign", for who words the error in another language.
    """

    def __init__(self, message, path=None, problem=None):
        super(CheckpointError, self).__init__(message)
        self.path, self.problem = path, problem
        self.code = 2 if problem else 1  # no usable checkpoint, or one that cannot be written


def save(folder, session, saver, notes=None):
    """Save the variables of `saver` in `folder`, in place of the checkpoint that was there.

    Args:
        notes: more files to seal with the weights, a dict of file name ending to bytes.
    Raises:
        CheckpointError: the files cannot be written; the checkpoint that was there is untouched.
    """
    unfinished = None
    try:
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if name.startswith(UNFINISHED):  # of a process that was killed
                shutil.rmtree(os.path.join(folder, name))
        unfinished = tempfile.mkdtemp(prefix=UNFINISHED, dir=folder)
        _write_all(unfinished, session, saver, notes or {})
        listed = set(_read_seal(unfinished))
        for name in listed:
            os.replace(os.path.join(unfinished, name), os.path.join(folder, name))
        _sync(folder)  # no seal may reach the disk before the names that it lists
        os.replace(os.path.join(unfinished, SEAL), os.path.join(folder, SEAL))
    except (OSError, tf.errors.OpError) as error:
        raise CheckpointError("the checkpoint cannot be written to %s: %s. What was there is "
                              "untouched." % (folder, reason(error)))
    finally:
        if unfinished:
            shutil.rmtree(unfinished, ignore_errors=True)
    with contextlib.suppress(OSError):  # the new checkpoint is there whatever becomes of the old
        _sync(folder)
        _sync(os.path.dirname(os.path.abspath(folder)))
        for name in os.listdir(folder):
            if name.startswith("weights-") and name not in listed:
                os.remove(os.path.join(folder, name))


def load(folder, use, expected=(), maker=None):
    """Verify the checkpoint in `folder` and return `use(prefix)` of it.

    Args:
        use: a function of the checkpoint's prefix, as `tf.train.Saver.restore` takes it.
        expected: the file name endings of the notes that must be sealed with the weights.
        maker: the command line that makes a new checkpoint there, for the error.
    Raises:
        CheckpointError: a file is missing or differs from the one that was saved, or TensorFlow
            or `use` (by a ValueError) refuses it.
    """
    while True:
        before = _seal_identity(folder)
        try:
            return use(_verify(folder, expected))
        except (CheckpointError, OSError, ValueError, tf.errors.OpError) as error:
            # Another process may have released new weights, and removed these, in the meantime.
            if _seal_identity(folder) != before:
                continue
            if not isinstance(error, CheckpointError):
                error = CheckpointError("the checkpoint in %s cannot be used: %s."
                                        % (folder, reason(error)), folder, "foreign")
            if maker:
                error.args = ("%s To make a new one: %s" % (error, maker),)
            raise error


def _verify(folder, expected):
    """Return the prefix of the checkpoint in `folder` after comparing every file's digest."""
    digests = _read_seal(folder)
    prefixes = {name.split(".")[0] for name in digests}
    if len(prefixes) != 1 or not {name[name.index("."):] for name in digests}.issuperset(
            SAVER_FILES + tuple(expected)):
        raise CheckpointError("%s is damaged: it does not list a checkpoint's files."
                              % os.path.join(folder, SEAL), os.path.join(folder, SEAL), "damaged")
    for name, digest in digests.items():
        path = os.path.join(folder, name)
        try:
            found = _digest(path)
        except OSError as error:
            raise CheckpointError("%s cannot be read: %s." % (path, reason(error)), path,
                                  "missing" if isinstance(error, FileNotFoundError)
                                  else "unreadable")
        if found != digest:
            raise CheckpointError("%s is damaged: it is not the file that %s lists."
                                  % (path, os.path.join(folder, SEAL)), path, "damaged")
    return os.path.join(folder, prefixes.pop())


def _write_all(folder, session, saver, notes):
    """Write the weights, the notes and the seal into the empty `folder`."""
    saver.save(session, os.path.join(folder, "weights"), write_meta_graph=False, write_state=False)
    for ending, content in notes.items():
        with open(os.path.join(folder, "weights" + ending), "wb") as stream:
            stream.write(content)
    digests = {name: _digest(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}
    # A name of their own for other contents, so that no file of the old checkpoint is replaced.
    identity = hashlib.sha256("".join(digests.values()).encode()).hexdigest()[:12]
    lines = []
    for name, digest in digests.items():
        sealed = name.replace("weights", "weights-" + identity)
        os.rename(os.path.join(folder, name), os.path.join(folder, sealed))
        lines.append("%s  %s\n" % (digest, sealed))
    with open(os.path.join(folder, SEAL), "w") as stream:
        stream.write("".join(lines))
    for name in os.listdir(folder):
        _sync(os.path.join(folder, name))


def _read_seal(folder):
    """Return the digests that `SHA256SUMS` lists, a dict of file name to hexadecimal digest."""
    path = os.path.join(folder, SEAL)
    content = _seal_bytes(folder)
    if content is None:
        raise CheckpointError("there is no checkpoint in %s (%s is missing)." % (folder, path),
                              path, "missing")
    lines = re.findall(br"([0-9a-f]{64})  ([\w-]+\.[\w.-]+)\n", content)
    if b"".join(b"%s  %s\n" % line for line in lines) != content:
        raise CheckpointError("%s is damaged: it is no list of SHA-256 digests." % path, path,
                              "damaged")
    return {name.decode(): digest.decode() for digest, name in lines}


def _seal_bytes(folder):
    try:
        with open_regular(os.path.join(folder, SEAL)) as stream:
            return stream.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        path = os.path.join(folder, SEAL)
        raise CheckpointError("%s cannot be read: %s." % (path, reason(error)), path,
                              "unreadable")


def _seal_identity(folder):
    """Return what differs between two seals, even where the same weights are released again."""
    try:
        status = os.stat(os.path.join(folder, SEAL))
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _digest(path):
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def _sync(path):
    """Have the operating system put a file or a folder on the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
