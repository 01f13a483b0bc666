"""Checkpoints verified against a SHA-256 manifest: `tf.train.Saver` files that are all or nothing.

A checkpoint is a folder with a Saver's files (`weights-ID.index`, `weights-ID.data-...`), possibly
notes (`weights-ID.json`), and the manifest `SHA256SUMS`, which `sha256sum -c` reads. The manifest
is replaced last and in one step: a reader finds the old checkpoint or the new one, whenever the
writer is killed. TensorFlow's own file `checkpoint` follows it. Who writes holds the folder's lock.
"""
import contextlib
import glob
import hashlib
import os
import pathlib
import re
import shutil
import sqlite3
import tempfile
import time

import numpy as np

from support.console import REPOSITORY, UserError, postponed_interrupts, reason
from support.environment import quoted
from support.tf1 import quiet_stderr, tf

MANIFEST, REPLACED, LOCK = "SHA256SUMS", "replaced", ".lock"
SAVER_FILES = ".index", ".data-00000-of-00001"
UNFINISHED = ".unfinished-"
PATIENCE = 2  # seconds, for a reader to close a file that Windows does not replace while open
LONGEST_SAVE = 10  # seconds, for another writer


class CheckpointError(UserError):
    """A checkpoint that cannot be used or written.

    Where it cannot be used, `path` is the file or folder at fault and `problem` one of "missing",
    "damaged" (it differs from the manifest), "unreadable" (for now) and "foreign" (another's).
    """

    def __init__(self, message, path=None, problem=None):
        super(CheckpointError, self).__init__(message)
        self.path, self.problem = path, problem
        self.code = 2 if problem else 1


def lock(folder, patience=0):
    """Make a folder and return its lock: until that is closed nobody else writes checkpoints there.

    Raises:
        UserError: another still writes there after `patience` seconds.
        CheckpointError: nothing can be written there.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        # SQLite locks files on every system; the lock ends with its process, however that ends.
        connection = sqlite3.connect(os.path.join(folder, LOCK), timeout=patience,
                                     isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = OFF")  # nothing is written, nor left by a kill
        connection.execute("BEGIN EXCLUSIVE")
        return connection
    except (OSError, sqlite3.Error) as error:
        if str(error) == "database is locked":
            raise UserError("another training or release is writing to %s: wait for it to end, or "
                            "choose another --checkpoint-dir." % folder)
        raise _not_written(folder, error)


def save(folder, session, saver, notes=None, locked=False):
    """Save the variables of `saver` in `folder`, replacing the checkpoint that is there.

    Args:
        notes: more files of the checkpoint, a dict of file name ending to bytes.
        locked: whether the caller has a `lock` that holds for this folder.
    Raises:
        CheckpointError: the files cannot be written; the checkpoint that was there is untouched.
        UserError: another process writes there.
    """
    held = contextlib.nullcontext() if locked else contextlib.closing(lock(folder, LONGEST_SAVE))
    with held, postponed_interrupts():
        try:
            os.makedirs(folder, exist_ok=True)
            unfinished = tempfile.mkdtemp(prefix=UNFINISHED, dir=folder)
            _write_all(unfinished, session, saver, notes or {})
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(os.path.join(folder, MANIFEST), os.path.join(unfinished, REPLACED))
            for name in _read_manifest(os.path.join(unfinished, MANIFEST)):
                _persist(os.replace, os.path.join(unfinished, name), os.path.join(folder, name))
            _sync_folder(folder)  # the manifest must not reach the disk before what it lists
            _persist(os.replace, os.path.join(unfinished, MANIFEST), os.path.join(folder, MANIFEST))
        except (OSError, tf.errors.OpError) as error:
            raise _not_written(folder, error)
        finally:
            with contextlib.suppress(OSError, tf.errors.OpError, CheckpointError):
                _tidy(folder)


def _not_written(folder, error):
    return CheckpointError("the checkpoint cannot be written to %s: %s. What was there is "
                           "untouched." % (folder, reason(error)))


def load(folder, use, expected=(), maker=None, release=None):
    """Verify the checkpoint in `folder` and return `use(prefix)`.

    Args:
        use: a function of the checkpoint's prefix, as `tf.train.Saver.restore` takes it.
        expected: the file name endings of the notes that the manifest must list.
        maker: the command that trains into `folder`, advised where the checkpoint is missing or
            damaged.
        release: the folder of the released weights, for which git is advised instead.
    Raises:
        CheckpointError: a file is missing or differs from the manifest, or TensorFlow or `use`
            (by a ValueError) refuses it.
    """
    while True:
        before = _manifest_identity(folder)
        try:
            return use(_verify(folder, expected))
        except (CheckpointError, OSError, ValueError, tf.errors.OpError) as error:
            # Another process may have released new weights, and removed these, in the meantime.
            if _manifest_identity(folder) != before:
                continue
            if not isinstance(error, CheckpointError):
                error = _refused(folder, error)
            advice = " To train new weights: %s" % maker if maker else ""
            if release and os.path.realpath(folder) == os.path.realpath(release):
                advice = (" To restore the released weights: git -C %s checkout checkpoints"
                          % quoted(REPOSITORY))
            if error.problem in ("missing", "damaged"):
                error.args = (str(error) + advice,)
            raise error


def for_inference(is_kernel):
    """Return a variable scope for a network whose weights a checkpoint restores.

    Variables whose names `is_kernel` accepts are float16 there, cast to what the network asks for:
    that halves the file and rounds each number by 2 ** -11 of itself at most. Initial values are
    zeros, which take no room in the file of a graph.
    """
    def get(getter, name, *more, dtype=None, **options):
        options["initializer"] = tf.zeros_initializer()
        if not is_kernel(name):
            return getter(name, *more, dtype=dtype, **options)
        return tf.cast(getter(name, *more, dtype=tf.float16, **options), dtype or tf.float32)
    return tf.variable_scope(tf.get_variable_scope(), custom_getter=get)


def meta_graph(graph):
    """Return a graph and a Saver of its variables as bytes: what `import_meta_graph` reads.

    Without attributes that have their default or that TensorFlow 1.15 does not know.
    """
    with graph.as_default():
        saver = tf.train.Saver()
        portable = graph.as_graph_def()
        for node in portable.node:
            for name in "debug_name", "validate_shape":
                node.attr.pop(name, None)
        return tf.train.export_meta_graph(
            graph_def=portable, saver_def=saver.as_saver_def(), clear_devices=True,
            collection_list=[tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.TRAINABLE_VARIABLES],
            strip_default_attrs=True).SerializeToString(deterministic=True)


def save_weights(folder, graph, values, notes, locked=False):
    """Save a network for inference as `save` does: its variables, and its graph as a note.

    Args:
        graph: what `meta_graph` returns.
        values: a dict of variable name to array.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.import_meta_graph(tf.MetaGraphDef.FromString(graph))
        with quiet_stderr():  # some processors' lack of float16 instructions is logged as an error
            for variable in tf.global_variables():
                dtype = variable.dtype.as_numpy_dtype
                variable.load(values[variable.op.name].astype(dtype), session)
        save(folder, session, saver, dict(notes, **{".meta": graph}), locked)


def values_of(session, variables):
    """Return the values of variables as `save_weights` takes them."""
    with quiet_stderr():  # as above
        return session.run({variable.op.name: variable for variable in variables})


def load_values(folder, session, variables):
    """Give variables the values that they have in the checkpoint in `folder`; raises as `load`."""
    def use(prefix):
        stored = tf.train.load_checkpoint(prefix)
        for variable in variables:
            variable.load(stored.get_tensor(variable.op.name).astype(np.float32), session)
    load(folder, use)


def name(folder):
    """Return what the checkpoint in `folder` is called where runs are compared: folder and ID."""
    return load(folder, lambda prefix: "%s (%s)" % (os.path.basename(os.path.realpath(folder)),
                                                    os.path.basename(prefix)))


def _refused(folder, error):
    """Return the CheckpointError for what the system, TensorFlow or a reader raised."""
    path = getattr(error, "filename", None)
    if os.path.exists(folder) and not os.path.isdir(folder):
        return CheckpointError("%s is a file, not the folder of a checkpoint." % folder, folder,
                               "foreign")
    if path and isinstance(error, (FileNotFoundError, NotADirectoryError)):
        name = os.path.basename(path)
        listed = "" if name == MANIFEST else ", which %s lists," % MANIFEST
        return CheckpointError("there is no complete checkpoint in %s: %s%s is missing."
                               % (folder, name, listed), path, "missing")
    # An error of the system (memory, open files, the disk) does not prove a foreign network.
    foreign = isinstance(error, (ValueError, tf.errors.NotFoundError,
                                 tf.errors.InvalidArgumentError))
    return CheckpointError("%s cannot be %s: %s." % (
        path or "the checkpoint in %s" % folder, "used" if foreign else "read", reason(error)),
        path or folder, "foreign" if foreign else "unreadable")


def _verify(folder, expected):
    """Return the prefix once every byte has its digest; TensorFlow would check less of them."""
    manifest = os.path.join(folder, MANIFEST)
    digests = _read_manifest(manifest)
    prefix = _prefix(digests)
    if {name.split(".")[0] for name in digests} != {prefix}:
        raise CheckpointError("%s is damaged: it does not list a checkpoint's files." % manifest,
                              manifest, "damaged")
    for name, digest in digests.items():
        path = os.path.join(folder, name)
        if _digest(path) != digest:
            raise CheckpointError("%s is damaged: it is not the file that %s lists."
                                  % (path, manifest), path, "damaged")
    if not {name[len(prefix):] for name in digests}.issuperset(SAVER_FILES + tuple(expected)):
        raise CheckpointError("%s is another network's: it lists no file that ends in %s."
                              % (manifest, " or ".join(expected)), folder, "foreign")
    return os.path.join(folder, prefix)


def _write_all(folder, session, saver, notes):
    """Write the weights, the notes and the manifest into the empty `folder`."""
    saver.save(session, os.path.join(folder, "weights"), write_meta_graph=False, write_state=False)
    for ending, content in notes.items():
        pathlib.Path(folder, "weights" + ending).write_bytes(content)
    digests = {name: _digest(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}
    lines = []
    for name, digest in digests.items():
        listed = name.replace("weights", _prefix(digests))
        os.rename(os.path.join(folder, name), os.path.join(folder, listed))
        lines.append("%s  %s\n" % (digest, listed))
    pathlib.Path(folder, MANIFEST).write_bytes("".join(lines).encode())
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "r+b") as stream:  # to read is not enough for Windows
            os.fsync(stream.fileno())


def _prefix(digests):
    """Return weights-ID: files with other contents get other names and overwrite no old file."""
    return "weights-" + hashlib.sha256("".join(digests.values()).encode()).hexdigest()[:12]


def _tidy(folder):
    """Remove `.unfinished-*` folders, and the files in `folder` that only their manifests list.

    Such files belong to the checkpoint that was replaced, or to a writer that failed or was
    killed. What the current manifest lists stays, and so does what no manifest lists.
    """
    kept = set()
    with contextlib.suppress(FileNotFoundError):
        kept.update(_read_manifest(os.path.join(folder, MANIFEST)))
    for name in sorted(kept)[:1]:
        # For `tf.train.latest_checkpoint`, before the files that it named so far are removed.
        tf.train.update_checkpoint_state(os.path.abspath(folder), name.split(".")[0])
    for unfinished in glob.glob(os.path.join(glob.escape(folder), UNFINISHED + "*", "")):
        stale = set()
        for manifest in MANIFEST, REPLACED:
            with contextlib.suppress(OSError, CheckpointError):
                stale.update(_read_manifest(unfinished + manifest))
        for name in stale - kept:
            with contextlib.suppress(FileNotFoundError):
                _persist(os.remove, os.path.join(folder, name))
        shutil.rmtree(unfinished, ignore_errors=True)
    for path in folder, os.path.dirname(os.path.abspath(folder)):
        _sync_folder(path)


def _read_manifest(path):
    """Return the digests that a manifest lists, a dict of file name to hexadecimal digest."""
    content = pathlib.Path(path).read_bytes()
    lines = re.findall(br"([0-9a-f]{64})  ([\w-]+\.[\w.-]+)\n", content)
    if b"".join(b"%s  %s\n" % line for line in lines) != content:
        raise CheckpointError("%s is damaged: it is not a list of SHA-256 digests." % path, path,
                              "damaged")
    return {name.decode(): digest.decode() for digest, name in lines}


def _manifest_identity(folder):
    """Return a value that changes when the manifest is replaced, even by an equal one."""
    with contextlib.suppress(OSError):
        status = os.stat(os.path.join(folder, MANIFEST))
        return status.st_ino, status.st_mtime_ns
    return None


def _digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def _persist(change, *paths):
    """Change a file's name or remove it, trying again while Windows refuses because it is open."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return change(*paths)
        except PermissionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _sync_folder(folder):
    """Have the system write the names in a folder to the disk, where it opens folders."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
