"""A training run that stops: its state on disk, saved often and never by two; Ctrl-C heard."""
import fcntl
import json
import os
import re
import shutil
import signal

from ex03_cifar import checkpoint

NOTES = "run.json"  # the options and the history, sealed with the weights
KEPT = 2


class RunState:
    """The folder `state` below a checkpoint folder, locked for this process.

    It holds the two newest states, each a checkpoint of its own in `step-00001234`.
    """

    def __init__(self, folder):
        """Lock the state below `folder`.

        Raises:
            checkpoint.CheckpointError: the folder cannot be written, or another training has it.
        """
        self.folder = os.path.join(folder, "state")
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._lock = open(os.path.join(self.folder, "lock"), "w")
        except OSError as error:
            raise checkpoint.CheckpointError("The training state cannot be written to %s: %s."
                                             % (self.folder, error.strerror))
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise checkpoint.CheckpointError(
                "Another training is running in %s: wait for it, or give --checkpoint-dir." % folder)

    def steps(self):
        """Return the steps of the saved states, the newest first."""
        return sorted((step for step, path in self._folders().items()
                       if os.path.exists(os.path.join(path, checkpoint.SEAL))), reverse=True)

    def clear(self):
        """Remove every saved state."""
        for path in self._folders().values():
            shutil.rmtree(path, ignore_errors=True)
        if self.steps():
            raise checkpoint.CheckpointError("The states in %s cannot be removed." % self.folder)

    def save(self, session, saver, step, notes):
        """Save the variables and `notes`, anything that JSON holds, as the state at `step`.

        Raises:
            checkpoint.CheckpointError: they cannot be written; the states before are untouched.
        """
        path = self._path(step)
        shutil.rmtree(path, ignore_errors=True)  # one that was refused on restoring
        try:
            checkpoint.save(path, session, saver, {NOTES: json.dumps(notes, indent=1)})
        except checkpoint.CheckpointError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        kept = self.steps()[:KEPT]
        for old, folder in self._folders().items():
            if old not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def restore(self, session, saver, check):
        """Restore the newest state that is whole and remove those that are not.

        Args:
            check: called with the notes before anything is restored; it may raise.
        Returns:
            its notes, or None without any state; why newer ones were passed over, a list.
        Raises:
            checkpoint.CheckpointError: states are there, but none is whole.
        """
        def use(prefix):
            with open(os.path.join(os.path.dirname(prefix), NOTES)) as stream:
                notes = json.load(stream)
            check(notes)
            saver.restore(session, prefix)
            return notes

        refusals = []
        for step in self.steps():
            try:
                notes = checkpoint.load(self._path(step), use, expected=(NOTES,))
            except checkpoint.CheckpointError as error:
                refusals.append(str(error))
                continue
            for refused in self.steps()[:len(refusals)]:
                shutil.rmtree(self._path(refused), ignore_errors=True)
            return notes, refusals
        if refusals:
            raise checkpoint.CheckpointError(" ".join(refusals) + " --fresh starts over.")
        return None, []

    def _folders(self):
        """Return a dict of step to folder, of the states that were cut short while saving too."""
        found = [re.match(r"step-(\d+)$", name) for name in os.listdir(self.folder)]
        return {int(match.group(1)): os.path.join(self.folder, match.group()) for match in found
                if match}

    def _path(self, step):
        return os.path.join(self.folder, "step-%08d" % step)


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
