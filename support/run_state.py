"""An interrupted training resumes, bit for bit: its state on disk, its lock, and Ctrl-C."""
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import sqlite3

import numpy as np

from support import checkpoint
from support.console import UsageError, UserError, printable, reason

KEPT = 2  # states, the newest and the one before it


@dataclasses.dataclass
class Saved:
    """What a run keeps besides its variables; its loop updates it in place."""

    step: int
    notes: dict   # what JSON can hold
    arrays: dict  # of name to NumPy array


class RunState:
    """The folder `state` below a checkpoint folder, locked for this process.

    It holds the newest states, each a checkpoint of its own in `step-00001234`: all variables, and
    what the loop keeps besides. A finished run clears it.
    """

    def __init__(self, folder, settings):
        """Lock the state below `folder`.

        Args:
            settings: a dict of what JSON holds; only a run with the same settings can resume.
        Raises:
            UserError: the folder cannot be written, or another training has locked it.
        """
        self.folder, self.settings = os.path.join(folder, "state"), settings
        try:
            os.makedirs(self.folder, exist_ok=True)
            # SQLite locks files on every system; the lock ends with its process, however that ends.
            self.lock = sqlite3.connect(os.path.join(self.folder, "lock"), timeout=0,
                                        isolation_level=None, check_same_thread=False)
            self.lock.execute("BEGIN EXCLUSIVE")
        except (OSError, sqlite3.Error) as error:
            if str(error) == "database is locked":
                raise UserError("another training is running in %s: wait for it to end, or choose "
                                "another --checkpoint-dir." % folder)
            raise UserError("the training state cannot be written to %s: %s."
                            % (self.folder, reason(error)))

    def save(self, session, saver, saved):
        """Save the variables and `saved`, a `Saved`.

        Raises:
            checkpoint.CheckpointError: they cannot be written; the states before are untouched.
        """
        arrays = io.BytesIO()
        np.savez(arrays, **saved.arrays)
        notes = {"step": saved.step, "settings": self.settings, "notes": saved.notes,
                 "cores": cores(), "devices": devices(session)}
        path = self._path(saved.step)
        try:
            checkpoint.save(path, session, saver, {
                ".json": json.dumps(notes, indent=1).encode(), ".npz": arrays.getvalue()})
        except checkpoint.CheckpointError:
            with contextlib.suppress(OSError):
                os.rmdir(path)  # if nothing is in it
            raise
        # A later step than this one's is a damaged state that this run did not resume from.
        kept = [step for step in self.steps() if step <= saved.step][:KEPT]
        for step, path in self._folders().items():
            if step not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def resume(self, session, saver, say):
        """Restore the newest state that is not damaged; delete none.

        Args:
            say: a function that takes a line of text for the user.
        Returns:
            a `Saved`, or None if there is no state.
        Raises:
            UsageError: the state is of a run with other settings.
            checkpoint.CheckpointError: a state cannot be read for now, or all are damaged.
        """
        def use(prefix):
            with open(prefix + ".json", encoding="utf-8") as stream:
                noted = json.load(stream)
            self._compare(noted["settings"], json.loads(json.dumps(self.settings)))
            for what, now in ("cores", cores()), ("devices", devices(session)):
                if noted.get(what, now) != now:  # sums are split among them
                    say("Saved on %d %s, resumed on %d: the same to rounding, not bit for bit."
                        % (noted[what], what, now))
            with np.load(prefix + ".npz") as arrays:
                saved = Saved(noted["step"], noted["notes"], dict(arrays))
            saver.restore(session, prefix)
            return saved

        damaged = []
        for step in self.steps():
            try:
                return checkpoint.load(self._path(step), use, expected=(".json", ".npz"))
            except checkpoint.CheckpointError as error:
                if error.problem not in ("damaged", "missing"):
                    raise
                damaged.append(str(error))
                say("Skipped: %s" % printable(error))
        if damaged:
            raise checkpoint.CheckpointError("%s --fresh starts over." % " ".join(damaged),
                                             self.folder, "damaged")
        return None

    def steps(self):
        """Return the steps of the saved states, the newest first."""
        return sorted((step for step, path in self._folders().items()
                       if checkpoint.MANIFEST in os.listdir(path)), reverse=True)

    def clear(self):
        """Remove every saved state: the run has finished, or is to start over."""
        for path in self._folders().values():
            shutil.rmtree(path, ignore_errors=True)
        if self.steps():
            raise UserError("the states in %s cannot be removed." % self.folder)

    def _compare(self, saved, given):
        differing = ["%s %s, now %s" % (name, saved.get(name), given.get(name))
                     for name in sorted(set(saved) | set(given))
                     if saved.get(name) != given.get(name)]
        if differing:
            raise UsageError(
                "%s holds an interrupted run with other options (%s): give the same options to "
                "resume it, or --fresh to start over." % (self.folder, "; ".join(differing)))

    def _folders(self):
        """Return a dict of step to folder, also of states that are incomplete."""
        found = [re.match(r"step-(\d+)$", name) for name in os.listdir(self.folder)]
        return {int(match.group(1)): os.path.join(self.folder, match.group()) for match in found
                if match}

    def _path(self, step):
        return os.path.join(self.folder, "step-%08d" % step)


def cores():
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def devices(session):
    """Return on how many processors' devices a session computes."""
    return sum(device.device_type == "CPU" for device in session.list_devices())


class StopRequest:
    """While active, the first Ctrl-C (or SIGTERM) only asks the loop to stop after its step."""

    def __enter__(self):
        self.requested = False
        self._previous = {number: signal.signal(number, self._request)
                          for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _request(self, number, frame):
        if self.requested:  # a person who insists is not kept waiting
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *exception):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
