"""Training by several processes, each on its share of every batch, that end in the same weights.

TensorFlow's servers carry the sums of a step between them (`whole_batch`). Beside them each task
keeps one connection with task 0: over it they agree, get the state that all begin with, and tell
one another when they leave. A task that dies closes its connection, or falls silent on it.
"""
import contextlib
import glob
import hashlib
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time

import numpy as np

from ex03_cifar import whole_batch
from support.console import (REPOSITORY, Interrupted, UsageError, UserError, complain,
                             is_out_of_memory, reason, say)
from support.peers import LOST, Connection, bound, free_addresses, restrict
from support.run_state import Saved
from support.tf1 import tf

DEVICE = "/job:worker/replica:0/task:%d/device:CPU:0"
HELLO = 5  # seconds for a new connection to say who it is


class Alone:
    """The one process of an ordinary training, which does without all that a `Team` does."""

    leads, task, size = True, 0, 1
    total, target, config = None, "", None

    def device(self):
        """Return the context in which the graph is built."""
        return contextlib.nullcontext()

    def part(self, count):
        """Return which of the `count` images of a batch are this process's, a slice."""
        return slice(self.task * count // self.size, (self.task + 1) * count // self.size)

    def random(self, rng, count):
        """Return the source of random numbers for this process's part of `count` images."""
        return rng

    def whole(self, model, recipe):
        """Return the `graph.Model` whose losses and counts are those of the whole batch."""
        return model

    def initialise(self, session, model, build):
        """Give the variables the values that a run begins with."""
        session.run(model.initialise)

    def share(self, session, saved):
        """Have every process begin with the variables and the `Saved` of task 0; return that."""
        return saved

    def step(self, session, fetches, feed, stop):
        """Run one step; return its results and whether it is to be the last.

        Args:
            stop: a `run_state.StopRequest`; any process's ends the step of all.
        """
        return session.run(fetches, feed), stop.requested

    def over(self):
        """Tell that the last step is done: from here on no process needs the others."""


@contextlib.contextmanager
def join(run, settings):
    """Meet the other processes of a training; the context gives `Alone` or a `Team`.

    Args:
        run: the options, as `options.parse` returns them.
        settings: a dict of what must be the same everywhere.
    Raises:
        UserError: they do not come, or cannot be reached.
        UsageError: they have other settings, data, code or versions.
    """
    if not run.cluster:
        yield Alone()
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # our own sentence tells who died
    os.environ["GRPC_VERBOSITY"] = "NONE"
    team = Team(run)
    try:
        facts = dict(settings, cluster=",".join(run.cluster), **versions())
        team.meet(json.loads(json.dumps(facts)))  # as they arrive at task 0
        yield team
        team.leave()
    except BaseException as error:
        team.leave(error)
        raise
    finally:
        team.server = None  # 1.15 fails where this is left to the end of the interpreter


class Team(Alone):
    """This process as one of several."""

    def __init__(self, run):
        self.task, self.size = run.task, len(run.cluster)
        self.leads = self.task == 0
        self.total = whole_batch.totals(self.size)
        self._addresses, self._run = run.cluster, run
        self._peers = {}  # task -> Connection; for all but task 0 only that of task 0
        self._needed = True
        self.server = None
        self._leaving = threading.Lock()
        self._done = threading.Event()

    def name(self, task):
        """Return how a task is called in a sentence."""
        return "task %d (%s)" % (task, self._addresses[task])

    # ---- Meeting ----

    def meet(self, facts):
        """Find the others, agree with them, and start TensorFlow's server; see `join`."""
        host, port = split_address(self._addresses[self.task])
        try:
            held = bound(host, port)  # a wrong --task is refused now, not after minutes
        except OSError as error:
            raise UserError("%s cannot listen there: %s. Each machine gets its own --task."
                            % (self.name(self.task), reason(error)))
        deadline = time.monotonic() + self._run.cluster_timeout
        with held:
            if self.leads:
                self._gather(held, facts, deadline)
            else:
                self._seek(facts, deadline)
        self.server, self.config = serve(self._addresses, self.task)
        self.target = self.server.target
        if self.leads:
            for task in self._peers:
                self._expect(task, "ready")
        else:
            self._send(0, "ready")

    def _gather(self, listener, facts, deadline):
        """Accept the connections of all other tasks."""
        listener.listen(16)
        missing = None
        while len(self._peers) < self.size - 1:
            if missing != set(range(1, self.size)) - set(self._peers):
                missing = set(range(1, self.size)) - set(self._peers)
                names = ", ".join(self.name(task) for task in sorted(missing))
                say("Task 0 waits for %s, %.0f s at most."
                    % (names, max(0, deadline - time.monotonic())))
            if time.monotonic() > deadline:
                raise UserError("%s did not come within %g s: start it, or give a longer "
                                "--cluster-timeout." % (names, self._run.cluster_timeout))
            self._run.launched.check()
            ready, _, _ = select.select([listener] + list(self._peers.values()), [], [], 0.5)
            for task, peer in list(self._peers.items()):
                if peer in ready:  # before the start it has nothing to say but that it goes
                    del self._peers[task]
            if listener in ready:
                self._welcome(Connection(listener.accept()[0]), facts)
        for task in self._peers:
            self._send(task, "start")

    def _welcome(self, peer, facts):
        """Take a new connection in, unless it is no task that is waited for."""
        try:
            peer.wait_at_most(HELLO)
            kind, theirs, _ = peer.receive()
            task = theirs.pop("task")
        except (OSError, KeyError, AttributeError):
            return peer.close()  # no task of ours: a port scan, say
        if task in self._peers or task not in range(1, self.size):
            with contextlib.suppress(OSError):
                peer.send("end", sentence="there is another task %s already." % task, code=2)
            return peer.close()
        peer.wait_at_most(self._run.cluster_timeout + HELLO)
        self._peers[task] = peer
        differing = ["%s %s and %s" % (name, theirs.get(name), facts.get(name))
                     for name in sorted(set(theirs) | set(facts))
                     if theirs.get(name) != facts.get(name)]
        if differing:
            raise UsageError("%s and %s differ: %s." % (
                self.name(task), self.name(0), "; ".join(differing)))

    def _seek(self, facts, deadline):
        """Connect with task 0 and wait until it has found the others."""
        say("Task %d waits for %s, %g s at most."
            % (self.task, self.name(0), self._run.cluster_timeout))
        while True:
            try:
                peer = Connection(socket.create_connection(
                    split_address(self._addresses[0]), timeout=HELLO))
                peer.send("hello", task=self.task, **facts)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UserError("%s did not answer within %g s (%s): start it, or give a "
                                    "longer --cluster-timeout." % (
                                        self.name(0), self._run.cluster_timeout, reason(error)))
                time.sleep(0.2)
        self._peers[0] = peer
        peer.wait_at_most(self._run.cluster_timeout + HELLO)  # it gives up first
        self._expect(0, "start")

    def _expect(self, task, wanted):
        """Return (facts, content) of the next message of a task, which must be of this kind.

        Raises:
            UserError: the task is gone, or says that it leaves.
        """
        try:
            kind, facts, content = self._peers[task].receive()
        except OSError as error:
            raise self._gone(task, error)
        if kind == wanted:
            self._peers[task].wait_at_most(None)
            return facts, content
        if kind == "end" and facts.get("code") == UsageError.code:
            raise UsageError(facts["sentence"])
        raise UserError(facts.get("sentence", "%s says what was not expected." % self.name(task)))

    def _send(self, task, kind, content=b"", **facts):
        """Send a message to a task. Raises: UserError: it is gone."""
        try:
            self._peers[task].send(kind, content, **facts)
        except OSError as error:
            raise self._gone(task, error)

    def _gone(self, task, error):
        """Return the UserError that a task is gone."""
        return UserError("%s is gone: %s. The same command, of every task, goes on from the last "
                         "saved state." % (self.name(task), reason(error)))

    # ---- Training ----

    def device(self):
        return tf.device(DEVICE % self.task)

    def random(self, rng, count):
        return ShareOfRandom(rng, count, self.part(count))

    def whole(self, model, recipe):
        self._stop = tf.placeholder(tf.float32, [], "stop")
        model, self._stopping = whole_batch.report(
            self.total, model, self.part(recipe.batch_size), recipe.batch_size, self._stop)
        return model

    def initialise(self, session, model, build):
        """As one process would: what is random there depends on its graph."""
        with tf.Graph().as_default() as graph:
            plain = build()
            with tf.Session(graph=graph) as alone:
                alone.run(plain.initialise)
                values = alone.run(variables(graph))
        load(session, values)

    def share(self, session, saved):
        if self.leads:
            arrays = io.BytesIO()
            values = session.run(variables(session.graph))
            np.savez(arrays, **dict({"variable/" + name: values[name] for name in values},
                                    **{"array/" + name: saved.arrays[name]
                                       for name in saved.arrays}))
            for task in self._peers:
                self._send(task, "state", arrays.getvalue(), step=saved.step, notes=saved.notes)
        else:
            facts, content = self._expect(0, "state")
            with np.load(io.BytesIO(content)) as arrays:
                values, kept = [
                    {name[len(kind):]: arrays[name] for name in arrays.files
                     if name.startswith(kind)} for kind in ("variable/", "array/")]
            load(session, values)
            saved = Saved(facts["step"], facts["notes"], kept)
        threading.Thread(target=self._watch, daemon=True).start()
        return saved

    def step(self, session, fetches, feed, stop):
        try:
            feed = {self._stop: float(stop.requested), **feed}
            *results, stopping = session.run(fetches + [self._stopping], feed)
        except tf.errors.OpError as error:
            if is_out_of_memory(error) and not isinstance(error, tf.errors.AbortedError):
                raise
            time.sleep(LOST)  # meanwhile `_watch` ends the process and says who is gone
            raise UserError("the sums with the other tasks failed: %s." % reason(error))
        return results, stopping > 0

    def over(self):
        self._needed = False

    # ---- Parting ----

    def _watch(self):
        """Wait for the others' last words, or for a silence, and end the process on them."""
        peers = {peer.fileno(): task for task, peer in self._peers.items()}
        while peers:
            for number in select.select(list(peers), [], [])[0]:
                task = peers.pop(number)
                try:
                    _, facts, _ = self._peers[task].receive()
                except OSError as error:
                    facts = {"code": 1, "sentence": str(self._gone(task, error))}
                if facts["code"] == 0:
                    self._done.set()
                elif self._needed or not self.leads:
                    self._give_up(facts)

    def _give_up(self, facts):
        """End the process, whose main thread may wait for ever for a task that is gone."""
        with self._leaving:
            complain(facts["sentence"])
            self._tell(facts)
            sys.stdout.flush()
            os._exit(facts["code"])

    def leave(self, error=None):
        """Tell the others that this process ends, and why, or wait until task 0 has finished.

        Args:
            error: the exception that ends it, if any.
        """
        if error is None or isinstance(error, Interrupted):
            if self.leads:
                self._leaving.acquire()
                self._tell({"code": 0})
            else:
                self._done.wait()
                self._leaving.acquire()
            return
        self._leaving.acquire()  # no second sentence from `_watch`
        if isinstance(error, UserError):
            why = str(error)
        elif isinstance(error, KeyboardInterrupt):
            why = "Ctrl-C."
        else:
            why = "%s." % reason(error)
        code = UsageError.code if isinstance(error, UsageError) else 1
        self._tell({"code": code, "sentence": why if why.startswith("task ") else
                    "%s has ended: %s" % (self.name(self.task), why)})

    def _tell(self, facts):
        """Send last words to all who are connected."""
        self._run.launched.silence()
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.send("end", **facts)


class ShareOfRandom:
    """A `RandomState` that draws for a whole batch and hands a part on: no number depends on it."""

    def __init__(self, rng, count, part):
        self._rng, self._count, self._part = rng, count, part

    def randint(self, low, high, count=None):
        """As `RandomState.randint`: one number, or `count`, the part's."""
        if count is None:
            return self._rng.randint(low, high)
        return self._rng.randint(low, high, self._count)[self._part]

    def uniform(self, low, high, count):
        """As `RandomState.uniform`, `count` of them, the part's."""
        return self._rng.uniform(low, high, self._count)[self._part]


def serve(addresses, task):
    """Start TensorFlow's server, on the address of this task only; return it and its config.

    Args:
        addresses: HOST:PORT of every task, a list.
    Raises:
        UserError: it cannot be started there.
    """
    config = tf.ConfigProto(device_filters=["/job:worker/task:%d" % task])
    # Without it the operations of different processes do not find one another.
    config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
    host, port = split_address(addresses[task])
    try:
        server = tf.train.Server({"worker": addresses}, "worker", task, config=config, start=False)
        restrict(port, host)  # by itself it is reached by all of the machine's addresses
        server.start()
    except (OSError, tf.errors.OpError) as error:
        raise UserError("TensorFlow's server cannot be started on %s: %s."
                        % (addresses[task], reason(error)))
    return server, config


def variables(graph):
    """Return a dict of name to variable, of all in a graph."""
    with graph.as_default():
        return {variable.op.name: variable for variable in tf.global_variables()}


def load(session, values):
    """Give the variables of a session's graph these values, a dict of name to array."""
    for name, variable in variables(session.graph).items():
        variable.load(values[name], session)


def versions():
    """Return a dict of the code's digest and the versions of what computes."""
    digest = hashlib.sha256()
    for folder in "ex03_cifar", "support":
        for path in sorted(glob.glob(os.path.join(REPOSITORY, folder, "*.py"))):
            with open(path, "rb") as stream:
                digest.update(stream.read())
    return {"code": digest.hexdigest()[:12], "TensorFlow": tf.VERSION, "NumPy": np.__version__}


def split_address(text):
    """HOST:PORT -> (host, port)."""
    host, _, port = text.rpartition(":")
    return host, int(port)


# ---- All processes on one machine ----

class Launched:
    """The other processes of `--processes`, which this one has started."""

    def __init__(self, processes=()):
        self._processes = dict(enumerate(processes, 1))
        self._silent = False
        for task, process in self._processes.items():
            threading.Thread(target=self._hand_on, args=(task, process), daemon=True).start()

    def _hand_on(self, task, process):
        """Repeat what a process complains of."""
        for line in process.stderr:
            if not self._silent:
                print("task %d: %s" % (task, line.rstrip()), file=sys.stderr, flush=True)

    def silence(self):
        """Repeat nothing any more: what they say from here on, this process has told them."""
        self._silent = True

    def check(self):
        """Raise a UserError where one has ended before its time."""
        for task, process in self._processes.items():
            if process.poll() is not None:
                raise UserError("task %d has ended, with exit code %d." % (task, process.poll()))

    def end(self):
        """Wait for their end, and see to it."""
        for process in self._processes.values():
            try:
                process.wait(LOST)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def launched(run, arguments):
    """Start the processes that `--processes` asks for; this one becomes task 0.

    Each gets its part of the processors, one beside the other, so that on a machine with several
    memories each stays with its own.

    Args:
        run: the options, to which the cluster's are added.
        arguments: the command line, a list of strings.
    """
    run.launched = Launched()
    if run.processes == 1:
        yield
        return
    run.cluster, run.task = free_addresses(run.processes), 0
    cores = sorted(os.sched_getaffinity(0))
    parts = [cores[task * len(cores) // run.processes:(task + 1) * len(cores) // run.processes]
             for task in range(run.processes)]
    processes = []
    try:
        for task in reversed(range(run.processes)):
            os.sched_setaffinity(0, parts[task] or cores)
            if task:
                processes.insert(0, subprocess.Popen(
                    [sys.executable, "-m", "ex03_cifar.train"] + arguments
                    + ["--processes", "1", "--cluster", ",".join(run.cluster), "--task", str(task)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    universal_newlines=True,
                    start_new_session=True))  # Ctrl-C is for this process, which tells them
        run.launched = Launched(processes)
        yield
        run.launched.end()
    except Interrupted:
        run.launched.end()
        raise
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
