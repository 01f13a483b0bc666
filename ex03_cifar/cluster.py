"""Several processes, on one machine or several, that train one network: one client, one graph.

Task 0 is the client. It alone has the options, the data, the state and the weights; its graph
splits each batch over the servers of all tasks (`shards`). The other tasks, the workers, run a
server and compute what they are asked for. Besides, a connection between task 0 and each worker
stays open: an empty line there and an answer back each second, and at last task 0's reason to end.
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
LOST = 20  # seconds without a sign of life


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
    """Turn off the log output of TensorFlow and gRPC, and their waiting for a server that is lost."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GRPC_VERBOSITY="NONE", GRPC_FAIL_FAST="true")


# ---- Task 0 ----
def lead(addresses, timeout, threads, children, train):
    """Connect to the workers, start the server, train; tell the workers how that ended."""
    streams, lost, ending, server = [], [], [0, ""], None
    try:
        meet(addresses, timeout, children, streams)
        server = serve(addresses, 0, threads)
        for task, stream in enumerate(streams, 1):
            threading.Thread(target=watch, args=(addresses, task, stream, lost), daemon=True).start()
        train(functools.partial(cluster_session, server.target, len(addresses), lost))
    except BaseException as error:
        ending = [getattr(error, "code", 1), reason(error) + "."]
        if isinstance(error, KeyboardInterrupt):
            ending = [Interrupted.code, "Ctrl-C."]
        raise
    finally:
        server = None  # TensorFlow 1.15 fails where this is left to the end of the interpreter
        for stream in streams:
            with contextlib.suppress(OSError):
                stream.sendall(json.dumps(ending).encode() + b"\n")


def meet(addresses, timeout, children, streams):
    """Append a connection to each worker to `streams`, in order, once its server runs.

    Args:
        children: the workers' processes where this one has started them, a list.
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
    """Ask a worker for a sign of life.

    Raises:
        OSError: there is none.
        UsageError: it was told other addresses, or has another TensorFlow.
    """
    stream.sendall(b"\n")
    theirs, expected = read_line(stream), greeting(addresses, task)
    if theirs.split(",")[0] != expected.split(",")[0]:
        raise OSError("another program is there")
    if theirs != expected:
        raise UsageError("%s and %s differ: '%s' there, '%s' here." % (
            title(addresses, task), title(addresses, 0), theirs, expected))


def watch(addresses, task, stream, lost):
    """Ask a worker for a sign of life each second; put a sentence into `lost` once there is none."""
    try:
        while True:
            check(addresses, task, stream)
            time.sleep(1)
    except OSError as error:
        lost.append("%s has ended: %s. The same command, of every task, resumes from the last saved "
                    "state." % (title(addresses, task), reason(error)))


@contextlib.contextmanager
def cluster_session(target, tasks, lost, recipe, steps, first_kernel):
    """As `graph.training_session`, each batch split over so many tasks.

    The session's `run` raises a UserError once a task is lost.
    """
    from ex03_cifar.shards import sharded_network  # here: to define it takes TensorFlow

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
                    time.sleep(2)  # in which `watch` finds out which one it is
                    lost.append("the exchange with the other tasks failed: %s." % reason(error))
            raise UserError(lost[0])

    with tf.Graph().as_default() as graph, tf.device(DEVICE % 0):
        model = build(recipe, steps, first_kernel,
                      sharded_network([DEVICE % task for task in range(tasks)]))
    session = Session(target, graph=graph)
    try:
        yield session, model
    finally:
        if not lost:  # else it might wait for the lost task for ever
            session.close()


# ---- The workers ----
def work(addresses, task, timeout, threads=0):
    """Run a server for task 0 until that has ended.

    Raises:
        UserError: task 0 did not come, is lost or has failed.
        Interrupted: task 0 was interrupted.
    """
    stream, server = welcome(addresses, task, timeout), None
    try:
        server, message = serve(addresses, task, threads), ""
        say("Task %d computes for %s." % (task, title(addresses, 0)))
        stream.settimeout(timeout + LOST)  # task 0 may still wait for other workers
        while not message:
            stream.sendall(greeting(addresses, task).encode() + b"\n")
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
    """Return the connection that task 0 has made."""
    with bind(addresses, task) as listener:
        greeting(addresses, task)  # imports TensorFlow: afterwards task 0 does not wait for that
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
def greeting(addresses, task):
    """Return what a worker answers, and task 0 expects, on each empty line."""
    return "exercise 3, task %d of %s, TensorFlow %s" % (task, ",".join(addresses), tf.VERSION)


def read_line(stream):
    """Return the next line of a connection, a str. Raises OSError where none comes in time."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            byte = stream.recv(1)
            if not byte or len(line) > 10000:
                raise OSError("the connection was closed")
            line += byte
    except socket.timeout:
        raise OSError("there was no sign of life for %g s" % stream.gettimeout())
    return line[:-1].decode(errors="replace")


def bind(addresses, task):
    """Return a socket that is bound to a task's address. Raises UserError where it is not ours."""
    try:
        return bound(*split(addresses[task]))
    except OSError as error:
        raise UserError("%s cannot listen there: %s. Each machine gets its own --task."
                        % (title(addresses, task), reason(error)))


def serve(addresses, task, threads=0):
    """Start TensorFlow's server; return it.

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
