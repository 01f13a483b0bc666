"""A training run that was stopped goes on, bit for bit: its state on disk, and Ctrl-C heard."""
import fcntl
import io
import json
import os
import re
import shutil
import signal
import weakref
from collections import namedtuple

import numpy as np

from support import checkpoint
from support.console import UsageError, UserError, reason

KEPT = 2

# step: int; notes: a dict of what JSON holds; arrays: a dict of name to NumPy array
Saved = namedtuple("Saved", "step notes arrays")


class RunState:
    """The folder `state` below a checkpoint folder, locked for this process.

    It holds the two newest states, each a sealed checkpoint of its own in `step-00001234`: all
    variables, and what the loop keeps beside them. A run that has finished clears it.
    """

    def __init__(self, folder):
        """Lock the state below `folder`.

        Raises:
            UserError: the folder cannot be written, or another training has it.
        """
        self.folder = os.path.join(folder, "state")
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._lock = open(os.path.join(self.folder, "lock"), "w")
            weakref.finalize(self, self._lock.close)
        except OSError as error:
            raise UserError("the training state cannot be written to %s: %s."
                            % (self.folder, reason(error)))
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another training is running in %s: wait for it, or give "
                            "--checkpoint-dir." % folder)

    def save(self, session, saver, saved, settings):
        """Save the variables and `saved`, of a run with these settings.

        Args:
            saved: a `Saved`.
            settings: a dict of what JSON holds; a run goes on with the same settings only.
        Raises:
            checkpoint.CheckpointError: they cannot be written; the states before are untouched.
        """
        path = self._path(saved.step)
        shutil.rmtree(path, ignore_errors=True)  # one that was refused on resuming
        arrays = io.BytesIO()
        np.savez(arrays, **saved.arrays)
        notes = {"step": saved.step, "settings": settings, "notes": saved.notes, "cores": _cores()}
        try:
            checkpoint.save(path, session, saver, {
                ".json": json.dumps(notes, indent=1).encode(), ".npz": arrays.getvalue()})
        except checkpoint.CheckpointError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        kept = self.steps()[:KEPT]
        for old, folder in self._folders().items():
            if old not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def resume(self, session, saver, settings, say):
        """Restore the newest state that is whole and remove those that are not.

        Args:
            settings: as for `save`; they must be those that the state was saved with.
            say: a function that takes a line of text for the person at the keyboard.
        Returns:
            a `Saved`, or None without any state.
        Raises:
            UsageError: the state is of a run with other settings.
            checkpoint.CheckpointError: states are there, but none is whole.
        """
        def use(prefix):
            with open(prefix + ".json") as stream:
                noted = json.load(stream)
            self._compare(noted["settings"], json.loads(json.dumps(settings)))
            if noted["cores"] != _cores():  # sums are split among them
                say("Saved on %d cores and going on on %d: the same to rounding, not bit for bit."
                    % (noted["cores"], _cores()))
            with np.load(prefix + ".npz") as arrays:
                saved = Saved(noted["step"], noted["notes"], dict(arrays))
            saver.restore(session, prefix)
            return saved

        refusals = []
        for step in self.steps():
            try:
                saved = checkpoint.load(self._path(step), use, expected=(".json", ".npz"))
            except checkpoint.CheckpointError as error:
                refusals.append(str(error))
                continue
            for refused, why in zip(self.steps(), refusals):
                say("Passed over: %s" % why)
                shutil.rmtree(self._path(refused), ignore_errors=True)
            return saved
        if refusals:
            raise checkpoint.CheckpointError(
                " ".join(refusals) + " --fresh starts over.", self.folder, "damaged")
        return None

    def steps(self):
        """Return the steps of the saved states, the newest first."""
        return sorted((step for step, path in self._folders().items()
                       if os.path.exists(os.path.join(path, checkpoint.SEAL))), reverse=True)

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
                "%s holds a run that was stopped, with other options (%s): give the same to go on, "
                "or --fresh to start over." % (self.folder, "; ".join(differing)))

    def _folders(self):
        """Return a dict of step to folder, of the states that were cut short while saving too."""
        found = [re.match(r"step-(\d+)$", name) for name in os.listdir(self.folder)]
        return {int(match.group(1)): os.path.join(self.folder, match.group()) for match in found
                if match}

    def _path(self, step):
        return os.path.join(self.folder, "step-%08d" % step)


def _cores():
    return len(os.sched_getaffinity(0))


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
