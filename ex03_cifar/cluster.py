"""Several processes, on one machine or several, that train one network: one client, one graph.

Task 0 is the client. It alone has the options, the data, the state and the weights; its graph
splits each batch over the servers of all tasks (`shards`). The other tasks run a server and compute
what they are asked for. A connection between task 0 and each of them stays open beside: it shows
at once that a task has died, within LOST seconds that it is silent, and says why a task ends.
"""
import contextlib
import functools
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

from ex03_cifar.graph import build
from ex03_cifar.shards import sharded_network
from support import console
from support.console import REPOSITORY, Interrupted, UsageError, UserError, reason, say
from support.ports import bound, free_addresses, restrict
from support.tf1 import tf

DEVICE = "/job:worker/replica:0/task:%d/device:CPU:0"
LOST = 20  # seconds without a sign of life
GREETING = 5  # seconds for a new connection to say who it is


def run(options, train):
    """Be one task of a cluster, or start one on this machine and be its task 0.

    Args:
        options: the namespace of `options.parse`.
        train: a function of `open_session`, as `train.train` takes it; called by task 0.
    Raises:
        UserError: a task is missing or lost; of a worker also: task 0 has ended, and why.
        UsageError: the tasks do not fit together.
    """
    quiet_libraries()
    if options.task:
        return work(options.cluster, options.task, options.cluster_timeout)
    with local_workers(options) as (addresses, threads, children):
        lead(addresses, options.cluster_timeout, threads, children, train)


def quiet_libraries():
    """Turn off the diagnostics of TensorFlow and gRPC: our own sentence says which task is lost."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GRPC_VERBOSITY="NONE", GRPC_FAIL_FAST="true")


# ---- Task 0 ----
def lead(addresses, timeout, threads, children, train):
    """Connect to the workers, start the server, train; tell the workers how that ended."""
    links, ready, lost, ending, server = {}, set(), [], [0, ""], None
    watching = threading.Thread(target=watch, args=(addresses, links, ready, lost), daemon=True)
    try:
        watching.start()
        meet(addresses, links, lost, timeout, children)
        server = serve(addresses, 0, threads)
        while len(ready) < len(links):
            if lost:
                raise UserError(lost[0])
            time.sleep(0.05)
        train(functools.partial(cluster_session, server.target, len(addresses), lost))
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        ending = [130 if interrupted else getattr(error, "code", 1),
                  "Ctrl-C." if interrupted else reason(error) + "."]
        raise
    finally:
        server = None  # TensorFlow 1.15 fails where this is left to the end of the interpreter
        lost.append("")  # ends the watch
        for link in links.values():
            with contextlib.suppress(OSError):
                link.send(ending)


def meet(addresses, links, lost, timeout, children):
    """Fill `links`, a dict of task to `Link`, with a connection to each worker.

    Args:
        children: the workers' processes where this one has started them, a list.
    """
    claim(addresses, 0).close()
    facts(addresses, 0)  # imports TensorFlow, which takes longer than a greeting may
    deadline, waited_for = time.monotonic() + timeout, None
    while len(links) < len(addresses) - 1:
        missing = [task for task in range(1, len(addresses)) if task not in links]
        names = ", ".join(name(addresses, task) for task in missing)
        if names != waited_for:
            waited_for = names
            say("Task 0 waits for %s, %.0f s at most." % (names, deadline - time.monotonic()))
        for task in missing:
            with contextlib.suppress(OSError, ValueError):  # not there yet, or another program
                link = Link(socket.create_connection(split(addresses[task]), timeout=GREETING))
                link.send(facts(addresses, task))
                compare(addresses, task, link.receive(GREETING))
                links[task] = link
        for task, child in enumerate(children, 1):
            if child.poll() is not None:
                raise UserError("task %d has ended, with exit code %d." % (task, child.poll()))
        if lost:
            raise UserError(lost[0])
        if time.monotonic() > deadline:
            raise UserError("%s did not answer within %g s: start it, or give a longer "
                            "--cluster-timeout." % (names, timeout))
        time.sleep(0.1)


def watch(addresses, links, ready, lost):
    """Exchange signs of life with the workers; put a sentence into `lost` once one is lost."""
    while not lost:
        for task, link in list(links.items()):
            try:
                link.send(None)
                message = link.receive(0)
                if message == "ready":
                    ready.add(task)
                elif message:
                    raise OSError(message)
            except OSError as error:
                lost.append("%s has ended: %s. The same command, of every task, resumes from the "
                            "last saved state." % (name(addresses, task), reason(error)))
        time.sleep(0.5)


@contextlib.contextmanager
def cluster_session(target, tasks, lost, recipe, steps, first_kernel):
    """As `graph.training_session`, each batch split over the devices of so many tasks."""
    with tf.Graph().as_default() as graph, tf.device(DEVICE % 0):
        model = build(recipe, steps, first_kernel,
                      sharded_network([DEVICE % task for task in range(tasks)]))
    session = watched_session(lost)(target, graph=graph)
    yield session, model
    session.close()  # not where a task is lost: it might wait for it for ever


def watched_session(lost):
    """Return a class of `tf.Session` whose `run` raises a UserError once a task is lost."""
    class Session(tf.Session):
        def run(self, *arguments, **options):
            result = futures.Future()

            def compute():
                try:
                    result.set_result(tf.Session.run(self, *arguments, **options))
                except BaseException as error:
                    result.set_exception(error)
            # TensorFlow 1.15 does not return where a task is lost, so this thread does not wait.
            threading.Thread(target=compute, daemon=True).start()
            while not lost:
                try:
                    return result.result(timeout=1)
                except futures.TimeoutError:
                    continue
                except (tf.errors.UnavailableError, tf.errors.AbortedError,
                        tf.errors.DeadlineExceededError) as error:
                    time.sleep(3)  # until `watch` has found out which
                    lost.append("the exchange with the other tasks failed: %s." % reason(error))
            raise UserError(lost[0])
    return Session


# ---- The other tasks ----
def work(addresses, task, timeout, threads=0):
    """Run a server for task 0 until that has ended.

    Raises:
        UserError: task 0 did not come, is lost or has failed.
        Interrupted: task 0 was interrupted.
    """
    link = welcome(addresses, task, timeout)
    try:
        server = serve(addresses, task, threads)
        link.send("ready")
        say("Task %d computes for %s." % (task, name(addresses, 0)))
        message = None
        while message is None:
            link.send(None)
            message = link.receive(1)
        code, sentence = message
    except OSError as error:
        code, sentence = 1, reason(error) + "."
    except KeyboardInterrupt:
        link.send("Ctrl-C")
        raise
    finally:
        server = None  # TensorFlow 1.15 fails where this is left to the end of the interpreter
    if code:
        kind = Interrupted if code == Interrupted.code else UserError
        raise kind("%s has ended: %s" % (name(addresses, 0), sentence))


def welcome(addresses, task, timeout):
    """Return the `Link` with task 0, once that has connected and fits."""
    with claim(addresses, task) as listener:
        ours = facts(addresses, task)  # imports TensorFlow, which takes longer than a greeting may
        deadline = time.monotonic() + timeout
        say("Task %d waits for %s, %g s at most." % (task, name(addresses, 0), timeout))
        listener.listen(16)
        while time.monotonic() < deadline:
            if select.select([listener], [], [], 0.5)[0]:
                with contextlib.suppress(OSError, ValueError):  # a port scan, say
                    link = Link(listener.accept()[0])
                    theirs = link.receive(GREETING)
                    link.send(ours)
                    compare(addresses, task, theirs)
                    return link
    raise UserError("%s did not connect within %g s: start it, or give a longer "
                    "--cluster-timeout." % (name(addresses, 0), timeout))


# ---- All tasks ----
class Link:
    """A connection between two tasks: lines of JSON. The line `null` is a sign of life."""

    def __init__(self, stream):
        self._stream, self._received, self._heard = stream, b"", time.monotonic()
        stream.settimeout(LOST)

    def send(self, message):
        """Send what JSON can hold. Raises: OSError."""
        self._stream.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds):
        """Return the next message, or None where none comes within so many seconds.

        Raises:
            OSError: the connection is closed, or has been silent for LOST seconds.
            ValueError: another program is at the other end.
        """
        end = time.monotonic() + seconds
        while True:
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received, message = rest, json.loads(line.decode())
                if message is not None:
                    return message
            elif len(line) > 1 << 16:
                raise ValueError("a line has no end")
            elif select.select([self._stream], [], [], max(0, end - time.monotonic()))[0]:
                part = self._stream.recv(4096)
                if not part:
                    raise OSError("the connection was closed")
                self._received, self._heard = self._received + part, time.monotonic()
            elif time.monotonic() > self._heard + LOST:
                raise OSError("there has been no sign of life for %d s" % LOST)
            else:
                return None


def facts(addresses, task):
    """Return what both ends of a new connection have to agree on, as JSON would."""
    return {"task": task, "--cluster": ",".join(addresses), "TensorFlow": tf.VERSION}


def compare(addresses, task, theirs):
    """Compare the facts of the other end, of task 0 or of `task`, with our own.

    Raises:
        UsageError: they differ.
        ValueError: these are no facts: another program is there.
    """
    ours = facts(addresses, task)
    if not isinstance(theirs, dict) or set(theirs) != set(ours):
        raise ValueError("it is another program")
    differing = ["%s %s and %s" % (key, ours[key], theirs[key])
                 for key in ours if ours[key] != theirs[key]]
    if differing:
        raise UsageError("%s and %s differ: %s." % (
            name(addresses, task), name(addresses, 0), "; ".join(differing)))


def claim(addresses, task):
    """Return a socket bound to a task's address. Raises UserError where it is not ours."""
    try:
        return bound(*split(addresses[task]))
    except OSError as error:
        raise UserError("%s cannot listen there: %s. Each machine gets its own --task."
                        % (name(addresses, task), reason(error)))


def serve(addresses, task, threads=0):
    """Start TensorFlow's server, on the address of this task only where the system can do that.

    Args:
        threads: how many compute; 0 for as many as there are processors.
    Raises:
        UserError: it cannot be started there.
    """
    host, port = split(addresses[task])
    try:
        server = tf.train.Server({"worker": addresses}, "worker", task, start=False,
                                 config=tf.ConfigProto(intra_op_parallelism_threads=threads))
        if not restrict(port, host):  # by itself it is reached by all of the machine's addresses
            say("TensorFlow's server listens on all addresses of this machine, without "
                "authentication: block port %d for all but the other tasks." % port)
        server.start()
        return server
    except (OSError, tf.errors.OpError) as error:
        raise UserError("TensorFlow's server cannot be started on %s: %s."
                        % (addresses[task], reason(error)))


def name(addresses, task):
    """Return what a task is called in a sentence."""
    return "task %d (%s)" % (task, addresses[task])


def split(address):
    """HOST:PORT -> (host, port)."""
    host, _, port = address.rpartition(":")
    return host, int(port)


# ---- All processes on one machine ----
@contextlib.contextmanager
def local_workers(options):
    """Start the workers of `--processes`; the context gives (addresses, threads, processes)."""
    if options.processes == 1:
        yield options.cluster, 0, []
        return
    addresses = free_addresses(options.processes)
    threads = max(1, (os.cpu_count() or 1) // options.processes)
    children = []
    try:
        for task in range(1, options.processes):
            children.append(subprocess.Popen(
                [sys.executable, "-m", "ex03_cifar.cluster",
                 json.dumps([addresses, task, options.cluster_timeout, threads])],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=REPOSITORY,
                start_new_session=True))  # Ctrl-C is for this process only
        yield addresses, threads, children
    finally:
        for child in children:
            child.kill()
            child.wait()


def child():
    """Be a worker of `--processes`, for as long as the process that has started it."""
    def end_with_parent():
        os.read(0, 1)  # returns once the other end of the pipe is closed
        os._exit(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    quiet_libraries()
    with contextlib.suppress(UserError):  # task 0 says it
        work(*json.loads(sys.argv[1]))


if __name__ == "__main__":
    console.run(child)
