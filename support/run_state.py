"""What all trainings share: to resume bit for bit, save in time, stop at Ctrl-C, and finish."""
import contextlib
import dataclasses
import io
import json
import os
import shutil
import time

import numpy as np

from support import checkpoint, reports
from support.console import Interrupted, UsageError, UserError, printable, say
from support.environment import cores

KEPT = 2  # states, the newest and the one before it


@dataclasses.dataclass
class Saved:
    """What a run keeps besides its variables; its loop updates it in place."""

    step: int     # how many were trained
    notes: dict   # what JSON can hold; "history" is a list of one dict for each epoch
    arrays: dict  # of name to NumPy array


class RunState:
    """The folder `state` below a checkpoint folder, which is locked for this process.

    It holds the newest states, each a checkpoint of its own in `step-00001234`: all variables, and
    what the loop keeps besides. A finished run clears it; what remembers it are its weights.
    """

    interrupts = ()  # the list of `console.postponed_interrupts`, which the training's loop sets

    def __init__(self, folder, settings, steps=0, save_every=0):
        """Lock `folder`.

        Args:
            folder: that of the weights which the run will save.
            settings: a dict of what JSON holds; only a run with the same settings can resume.
            steps: how many the whole run has.
            save_every: seconds, the longest time between two saved states.
        Raises:
            UserError: the folder cannot be written, or another process writes there.
        """
        self.folder, self.settings = os.path.join(folder, "state"), settings
        self.weights, self.last, self.save_every = folder, steps, save_every
        self.lock = checkpoint.lock(folder)
        os.makedirs(self.folder, exist_ok=True)

    def finished(self, fresh):
        """Return the history of the training with these settings that has finished, else None.

        It has if its weights are in the folder, and no interrupted one is to be resumed.

        Args:
            fresh: start over: remove an interrupted training, and return None.
        Raises:
            checkpoint.CheckpointError: the weights cannot be read for now.
        """
        if fresh:
            self.clear()
        manifest = os.path.join(self.weights, checkpoint.MANIFEST)
        if fresh or self.steps() or not os.path.isfile(manifest):
            return None
        try:
            notes = checkpoint.load(
                self.weights, lambda prefix: reports.read_notes(prefix + ".json", ()), (".json",))
        except checkpoint.CheckpointError as error:
            if error.problem == "unreadable":
                raise
            return None
        changes = self._differences(notes["settings"])
        if changes:
            say("%s has the weights of a finished training with other options (%s): they are "
                "replaced at the end of this one." % (self.weights, changes))
            return None
        say("This training has finished, and its weights are in %s: --fresh starts over."
            % self.weights)
        return notes["history"]

    def keep(self, session, saver, saved, due):
        """After a step, save the run where that is due: at the latest after `save_every` seconds.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came, and there are steps to train.
            checkpoint.CheckpointError: as `save` does.
        """
        if due or self.interrupts or time.monotonic() - self.kept > self.save_every:
            self.save(session, saver, saved)
            self.kept = time.monotonic()
        if self.interrupts and saved.step < self.last:
            raise Interrupted("Interrupted after step %d, saved in %s: the same command, without "
                              "--fresh, resumes from there." % (saved.step, self.folder))

    def finish(self, saved, graph, values, files=()):
        """Save the weights of a run that was trained to its end, and what remembers it.

        Args:
            graph, values, files: as `checkpoint.save_weights` takes them.
        Raises:
            Interrupted: Ctrl-C or SIGTERM came meanwhile.
            checkpoint.CheckpointError: the weights cannot be written; the states are still there.
        """
        notes = {"settings": self.settings, "history": saved.notes["history"]}
        checkpoint.save_weights(self.weights, graph, values,
                                dict(files, **{".json": json.dumps(notes, indent=1).encode()}),
                                locked=True)
        self.clear()
        text = "Saved the weights in %s." % self.weights
        if self.interrupts:
            raise Interrupted(text + " The training has finished.")
        say(text)

    def save(self, session, saver, saved):
        """Save the variables and `saved`, a `Saved`; raises what `checkpoint.save` does."""
        arrays = io.BytesIO()
        np.savez(arrays, **saved.arrays)
        notes = {"step": saved.step, "settings": self.settings, "notes": saved.notes,
                 "cores": cores(), "devices": devices(session)}
        path = self._path(saved.step)
        try:
            checkpoint.save(path, session, saver, {
                ".json": json.dumps(notes, indent=1).encode(), ".npz": arrays.getvalue()},
                locked=True)
        except checkpoint.CheckpointError:
            with contextlib.suppress(OSError):
                os.rmdir(path)  # if nothing is in it
            raise
        # A later step than this one's is a damaged state that this run did not resume from.
        kept = [step for step in self.steps() if step <= saved.step][:KEPT]
        for step, path in self._folders().items():
            if step not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def resume(self, session, saver):
        """Restore the newest state that is not damaged; delete none.

        Returns:
            a `Saved`, or None if there is no state.
        Raises:
            UsageError: the state is of a run with other settings.
            checkpoint.CheckpointError: a state cannot be read for now, or all are damaged.
        """
        def use(prefix):
            with open(prefix + ".json", encoding="utf-8") as stream:
                noted = json.load(stream)
            changes = self._differences(noted["settings"])
            if changes:
                raise UsageError(
                    "%s holds an interrupted run with other options (%s): give the same options "
                    "to resume it, or --fresh to start over." % (self.folder, changes))
            for what, now, alike in (("cores", cores(), "the same to rounding"),
                                     ("devices", devices(session), "a similar training")):
                if noted.get(what, now) != now:  # sums, or batches, are split among them
                    say("Saved on %d %s, resumed on %d: %s, not bit for bit."
                        % (noted[what], what, now, alike))
            with np.load(prefix + ".npz") as arrays:
                saved = Saved(noted["step"], noted["notes"], dict(arrays))
            saver.restore(session, prefix)
            return saved

        self.kept = time.monotonic()
        for step in self.steps():
            try:
                saved = checkpoint.load(self._path(step), use, expected=(".json", ".npz"))
                say("Resuming from step %d of %d, saved in %s." % (step, self.last, self.folder))
                return saved
            except checkpoint.CheckpointError as error:
                if error.problem not in ("damaged", "missing"):
                    raise
                say("Skipped: %s" % printable(error))
        if self.steps():
            raise checkpoint.CheckpointError("every state in %s is damaged: --fresh starts over."
                                             % self.folder, self.folder, "damaged")
        return None

    def steps(self):
        """Return the steps of the saved states, the newest first."""
        return sorted((step for step, path in self._folders().items()
                       if checkpoint.MANIFEST in os.listdir(path)), reverse=True)

    def clear(self):
        """Remove every saved state: the run has finished, or is to start over."""
        for path in self._folders().values():
            shutil.rmtree(path)

    def _differences(self, saved):
        """Return in words how the settings of another run, a dict, differ from these."""
        given = json.loads(json.dumps(self.settings))
        return "; ".join("%s %s, now %s" % (name, saved.get(name), given.get(name))
                         for name in sorted(set(saved) | set(given))
                         if saved.get(name) != given.get(name))

    def _folders(self):
        """Return a dict of step to folder, also of states that are incomplete."""
        return {int(name[len("step-"):]): os.path.join(self.folder, name)
                for name in os.listdir(self.folder)
                if name.startswith("step-") and name[len("step-"):].isdigit()}

    def _path(self, step):
        return os.path.join(self.folder, "step-%08d" % step)


def devices(session):
    """Return on how many processors' devices a session computes."""
    return sum(device.device_type == "CPU" for device in session.list_devices())


def diverged(step, loss):
    """Return the error of a training whose loss, or a weight, is not finite after a step."""
    return UserError("training diverged: the loss or a weight is not finite after step %d (loss "
                     "%s). Start over with --fresh and a smaller --learning-rate." % (step, loss))
