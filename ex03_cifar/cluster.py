"""Train one network on several processes or machines: one client, one graph (in-graph replication).

Task 0 is the only client. It alone has the options, the data, the state and the weights; its graph
splits each batch over the TensorFlow servers of all tasks (`shards`). The other tasks, the workers,
only run a server. Besides, a TCP connection between task 0 and each worker stays open, on which
task 0 sends a heartbeat every second, the worker replies, and task 0 finally says why it ends.
"""
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

from ex03_cifar.graph import build
from support import console
from support.console import REPOSITORY, Interrupted, UsageError, UserError, reason, say
from support.ports import bound, free_addresses, restrict, split
from support.run_state import cores
from support.tf1 import tf

DEVICE = "/job:worker/replica:0/task:%d/device:CPU:0"
LOST = 20  # seconds without a heartbeat


def run(options, train):
    """Be one task of a cluster, or start one on this machine and be its task 0.

    Args:
        options: the namespace of `options.parse`.
        train: a function of `open_session`, as `train.train` takes it; called by task 0.
    Raises:
        UserError: a task is missing or lost; in a worker also: task 0 has failed, and why.
        UsageError: the tasks have different addresses or TensorFlow versions.
    """
    quiet_libraries()
    if options.task:
        return work(options.cluster, options.task, options.cluster_timeout)
    with local_workers(options) as (addresses, threads, children):
        lead(addresses, options.cluster_timeout, threads, children, train)


def quiet_libraries():
    """Turn off the log output of TensorFlow and gRPC, and gRPC's wait for a server that is lost."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GRPC_VERBOSITY="NONE", GRPC_FAIL_FAST="true")


# ---- Task 0 ----
def lead(addresses, timeout, threads, children, train):
    """Connect to the workers, start the server and train; send the workers the outcome."""
    streams, lost, ending, server = [], [], [0, ""], None
    try:
        meet(addresses, timeout, children, streams)
        server = serve(addresses, 0, threads)
        for task, stream in enumerate(streams, 1):
            threading.Thread(target=watch, args=(addresses, task, stream, lost),
                             daemon=True).start()
        train(functools.partial(cluster_session, server.target, len(addresses), lost))
    except BaseException as error:
        ending = [getattr(error, "code", 1), reason(error) + "."]
        if isinstance(error, KeyboardInterrupt):
            ending = [Interrupted.code, "Ctrl-C."]
        raise
    finally:
        server = None  # TensorFlow 1.15 raises if the interpreter's exit deletes it
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.sendall(json.dumps(ending).encode() + b"\n")


def meet(addresses, timeout, children, streams):
    """Append a connection to each worker to `streams`, in order, once its server runs.

    Args:
        children: the workers' processes, a list; empty if this process did not start them.
    """
    bind(addresses, 0).close()
    deadline = time.monotonic() + timeout
    for task in range(1, len(addresses)):
        say("Task 0 waits for %s, %g s at most." % (title(addresses, task), timeout))
        while len(streams) < task:
            try:
                streams.append(socket.create_connection(split(addresses[task]), LOST))
                check(addresses, task, streams[-1])
            except OSError:  # not there yet, or another program
                del streams[task - 1:]
                if children and children[task - 1].poll() is not None:
                    raise UserError("task %d has ended, with exit code %d."
                                    % (task, children[task - 1].poll()))
                if time.monotonic() > deadline:
                    raise UserError("%s did not answer within %g s: start it, or give a longer "
                                    "--cluster-timeout." % (title(addresses, task), timeout))
                time.sleep(0.2)


def check(addresses, task, stream):
    """Send a worker a heartbeat and read its reply.

    Raises:
        OSError: there is no reply.
        UsageError: it has other addresses or another TensorFlow version.
    """
    stream.sendall(b"\n")
    theirs, expected = read_line(stream), identity(addresses, task)
    if theirs.split(",")[0] != expected.split(",")[0]:
        raise OSError("another program is there")
    if theirs != expected:
        raise UsageError("%s and %s differ: '%s' there, '%s' here." % (
            title(addresses, task), title(addresses, 0), theirs, expected))


def watch(addresses, task, stream, lost):
    """Send a worker heartbeats; append a sentence to `lost` once it does not reply."""
    try:
        while True:
            check(addresses, task, stream)
            time.sleep(1)
    except OSError as error:
        lost.append("%s has ended: %s. The same command, of every task, resumes from the last "
                    "saved state." % (title(addresses, task), reason(error)))


@contextlib.contextmanager
def cluster_session(target, tasks, lost, recipe, steps, first_kernel):
    """Open a session as `graph.training_session` does, each batch split over `tasks` tasks.

    Its `run` raises a UserError once `lost`, a list, has a sentence.
    """
    from ex03_cifar.shards import sharded_network  # here: its decorators need TensorFlow

    class Session(tf.Session):
        def run(self, *arguments, **options):
            result = futures.Future()

            def compute():
                try:
                    result.set_result(tf.Session.run(self, *arguments, **options))
                except BaseException as error:
                    result.set_exception(error)
            # In TensorFlow 1.15 this call never returns once a task is lost.
            threading.Thread(target=compute, daemon=True).start()
            while not lost:
                try:
                    return result.result(timeout=1)
                except futures.TimeoutError:
                    continue
                except (tf.errors.UnavailableError, tf.errors.AbortedError,
                        tf.errors.DeadlineExceededError) as error:
                    time.sleep(2)  # `watch` needs a second to find out which task it is
                    lost.append("the exchange with the other tasks failed: %s." % reason(error))
            raise UserError(lost[0])

    with tf.Graph().as_default() as graph, tf.device(DEVICE % 0):
        model = build(recipe, steps, first_kernel,
                      sharded_network([DEVICE % task for task in range(tasks)]))
    session = Session(target, graph=graph)
    try:
        yield session, model
    finally:
        if not lost:  # closing could wait for the lost task endlessly
            session.close()


# ---- The workers ----
def work(addresses, task, timeout, threads=0):
    """Run a server until task 0 has ended.

    Raises:
        UserError: task 0 did not connect, is lost or has failed.
        Interrupted: task 0 was interrupted.
    """
    stream, server = welcome(addresses, task, timeout), None
    try:
        server, message = serve(addresses, task, threads), ""
        say("Task %d computes for %s." % (task, title(addresses, 0)))
        stream.settimeout(timeout + LOST)  # task 0 may still wait for other workers
        while not message:
            stream.sendall(identity(addresses, task).encode() + b"\n")
            message = read_line(stream)
            stream.settimeout(LOST)
        code, sentence = json.loads(message)
    except OSError as error:
        code, sentence = 1, reason(error) + "."
    finally:
        server = None  # as in `lead`
    if code:
        kind = Interrupted if code == Interrupted.code else UserError
        raise kind("%s has ended: %s" % (title(addresses, 0), sentence))


def welcome(addresses, task, timeout):
    """Wait for task 0 to connect; return the connection."""
    with bind(addresses, task) as listener:
        identity(addresses, task)  # imports TensorFlow now: a heartbeat does not wait for it
        say("Task %d waits for %s, %g s at most." % (task, title(addresses, 0), timeout))
        listener.listen(16)
        listener.settimeout(0.5)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # nobody yet, or a port scan
                stream = listener.accept()[0]
                stream.settimeout(5)
                if read_line(stream) == "":
                    return stream
    raise UserError("%s did not connect within %g s: start it, or give a longer "
                    "--cluster-timeout." % (title(addresses, 0), timeout))


# ---- All tasks ----
def identity(addresses, task):
    """Return the reply of a worker to a heartbeat, which task 0 compares with its own."""
    return "exercise 3, task %d of %s, TensorFlow %s" % (task, ",".join(addresses), tf.VERSION)


def read_line(stream):
    """Return the next line of a connection, a str. Raises OSError if none comes in time."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            byte = stream.recv(1)
            if not byte or len(line) > 10000:
                raise OSError("the connection was closed")
            line += byte
    except socket.timeout:
        raise OSError("it has been silent for %g s" % stream.gettimeout())
    return line[:-1].decode(errors="replace")


def bind(addresses, task):
    """Return a socket bound to a task's address. Raises UserError if it is another machine's."""
    try:
        return bound(*split(addresses[task]))
    except OSError as error:
        raise UserError("%s cannot listen there: %s. Give each machine its own --task."
                        % (title(addresses, task), reason(error)))


def serve(addresses, task, threads=0):
    """Start TensorFlow's server; return it.

    Args:
        threads: number of threads that compute; 0 for one per core.
    Raises:
        UserError: it cannot be started there.
    """
    host, port = split(addresses[task])
    try:
        server = tf.train.Server({"worker": addresses}, "worker", task, start=False,
                                 config=tf.ConfigProto(intra_op_parallelism_threads=threads))
        if not restrict(port, host):  # the server listens on all addresses of the machine
            say("TensorFlow's server has no authentication and listens on all addresses of this "
                "machine: block port %d for all but the other tasks." % port)
        server.start()
        return server
    except (OSError, tf.errors.OpError) as error:
        raise UserError("TensorFlow's server cannot be started on %s: %s."
                        % (addresses[task], reason(error)))


def title(addresses, task):
    """Return what a task is called in a sentence."""
    return "task %d (%s)" % (task, addresses[task])


# ---- All processes on one machine ----
@contextlib.contextmanager
def local_workers(options):
    """Start the workers of `--processes`; the context gives (addresses, threads, processes)."""
    if options.processes == 1:
        yield options.cluster, 0, []
        return
    addresses = free_addresses(options.processes)
    threads = max(1, cores() // options.processes)
    children = []
    try:
        for task in range(1, options.processes):
            children.append(subprocess.Popen(
                [sys.executable, "-m", "ex03_cifar.cluster",
                 json.dumps([addresses, task, options.cluster_timeout, threads])],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=REPOSITORY,
                start_new_session=True))  # Ctrl-C goes to this process only
        yield addresses, threads, children
    finally:
        for child in children:
            child.kill()
            child.wait()


def child():
    """Run a worker of `--processes`; end with the process that has started it."""
    def end_with_parent():
        os.read(0, 1)  # returns when the parent ends and the pipe is closed
        os._exit(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    quiet_libraries()
    with contextlib.suppress(UserError):  # task 0 prints it
        work(*json.loads(sys.argv[1]))


if __name__ == "__main__":
    console.run(child)
