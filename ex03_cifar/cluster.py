"""Train one network on several processes or machines: one client, one graph (in-graph replication).

Task 0 is the client. It alone has the options, the data, the state and the weights; its graph
has a tower on the TensorFlow server of each task (`towers`). The other tasks, the workers, only run
a server. Each side tries the other's port once a second; at last task 0 says how it ended.
"""
import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
import time

from tqdm import tqdm

from ex03_cifar.graph import build
from ex03_cifar.towers import towers
from support import console
from support.console import REPOSITORY, Interrupted, UsageError, UserError, reason, say
from support.environment import cores
from support.ports import bound, free_addresses, restrict, silence, split
from support.tf1 import tf

DEVICE = "/job:worker/replica:0/task:%d/device:CPU:0"
LOST = 20  # seconds without an answer
START = 600  # seconds, for the other tasks to be started


def run(options, train):
    """Be one task of a cluster, or start one on this machine and be its task 0.

    Args:
        options: the namespace of `options.parse`.
        train: a function of `open_session`, as `train.train` takes it; called by task 0.
    Raises:
        UserError: a task is missing, lost or another one; in a worker also: task 0 has failed.
    """
    if options.task:
        return work(options.cluster, options.task)
    addresses = options.cluster or free_addresses(options.processes)
    with lead(addresses, options.processes) as target:
        train(functools.partial(cluster_session, target, len(addresses)))


# ---- Task 0 ----
@contextlib.contextmanager
def lead(addresses, processes):
    """Start the server, and so many processes on this machine; meet the workers.

    The context gives the `target` of sessions. At the end the workers are told the outcome. Once
    one is lost, the process ends with code 1.
    """
    threads, over = max(1, cores() // processes), threading.Event()
    children = [subprocess.Popen(
        [sys.executable, "-m", "ex03_cifar.cluster", json.dumps([addresses, task, threads])],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=REPOSITORY,
        start_new_session=True) for task in range(1, processes)]  # Ctrl-C goes to this process only
    workers, outcome = [], [0, ""]
    try:
        server = serve(addresses, 0, threads)
        for task in range(1, len(addresses)):
            wait_for(addresses, 0, task, children[task - 1:task])
            workers.append(open_note(server.target, task))
            check(addresses, task, *workers[-1])
        threading.Thread(target=watch, args=(addresses, over), daemon=True).start()
        yield server.target
    except BaseException as error:
        if isinstance(error, tf.errors.OpError):
            time.sleep(3)  # if it is about a lost worker, `watch` ends the process
        outcome = [getattr(error, "code", 1), reason(error) + "."]
        raise
    finally:
        over.set()
        for session, note in workers:
            with contextlib.suppress(tf.errors.OpError):
                note.load(json.dumps(outcome), session)
        for child in children:
            child.kill()
            child.wait()


def check(addresses, task, session, note):
    """Raise UsageError if a worker has other addresses or another TensorFlow version."""
    theirs, ours = None, identity(addresses, task)
    while theirs is None:
        try:
            theirs = session.run(note).decode()
        except tf.errors.FailedPreconditionError:  # not yet written
            time.sleep(0.1)
        except tf.errors.OpError:
            raise UsageError("%s does not answer as '%s' would." % (title(addresses, task), ours))
    if theirs != ours:
        raise UsageError("%s and %s differ: '%s' there, '%s' here." % (
            title(addresses, task), title(addresses, 0), theirs, ours))


def watch(addresses, over):
    """Try the workers' ports every second, until the event `over`; end the process if one is lost.

    At once, since a step that waits for a lost task may never end (TensorFlow 1.15).
    """
    while not over.wait(1):
        for task in range(1, len(addresses)):
            problem = silence(addresses[task], LOST)
            if problem and not over.is_set():
                with tqdm.external_write_mode(sys.stderr):  # above the progress bar
                    console.complain("%s has ended: %s. Start every task again, task 0 without "
                                     "--fresh: it resumes from the last saved state, if there is "
                                     "one." % (title(addresses, task), problem))
                    os._exit(1)


@contextlib.contextmanager
def cluster_session(target, tasks, *arguments):
    """Open a session as `graph.training_session` does, with a tower on each of `tasks` tasks."""
    with tf.Graph().as_default() as graph, tf.device(DEVICE % 0):
        model = build(*arguments, training_network=towers([DEVICE % task for task in range(tasks)]))
    with tf.Session(target, graph=graph) as session:
        yield session, model


# ---- The workers ----
def work(addresses, task, threads=0):
    """Run a server until task 0 has ended.

    Raises:
        UserError: task 0 did not come, is lost or has failed; `Interrupted` if it was.
    """
    server = serve(addresses, task, threads)
    session, note = open_note(server.target, task)
    mine = outcome = identity(addresses, task)
    note.load(mine, session)
    wait_for(addresses, task, 0)
    say("Task %d computes for %s." % (task, title(addresses, 0)))
    problem = ""
    while outcome == mine and not problem:
        time.sleep(1)
        problem = silence(addresses[0], LOST)
        outcome = session.run(note).decode()  # after that: task 0 writes it before it ends
    code, sentence = [1, problem + "."] if outcome == mine else json.loads(outcome)
    if code:
        kind = Interrupted if code == Interrupted.code else UserError
        raise kind("%s has ended: %s" % (title(addresses, 0), sentence))


# ---- All tasks ----
def serve(addresses, task, threads):
    """Start TensorFlow's server, with so many threads that compute (0: one per core); return it."""
    # Neither TensorFlow nor gRPC logs, nor does gRPC wait for a lost server.
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GRPC_VERBOSITY="NONE", GRPC_FAIL_FAST="true")
    host, port = split(addresses[task])
    try:
        bound(host, port).close()
        server = tf.train.Server({"worker": addresses}, "worker", task, start=False,
                                 config=tf.ConfigProto(intra_op_parallelism_threads=threads))
        if not restrict(port, host):  # the server listens on all addresses of the machine
            say("TensorFlow's server has no authentication and listens on all addresses of this "
                "machine: block port %d for all but the other tasks." % port)
        server.start()
        return server
    except (OSError, tf.errors.OpError) as error:
        raise UserError("%s cannot listen there: %s. Give each machine its own --task."
                        % (title(addresses, task), reason(error)))


def open_note(target, task):
    """Return (session, variable) of a string that a worker and task 0 share by its name.

    The worker writes its `identity`, and task 0 at last its exit code and a sentence, as JSON.
    """
    with tf.Graph().as_default() as graph, tf.device(DEVICE % task):
        note = tf.get_variable("note", initializer="")
    config = tf.ConfigProto(device_filters=[DEVICE % task], operation_timeout_in_ms=1000 * LOST)
    return tf.Session(target, graph=graph, config=config), note


def identity(addresses, task):
    """Return who a worker is, for task 0 to compare."""
    return "task %d of %s, TensorFlow %s" % (task, ",".join(addresses), tf.VERSION)


def wait_for(addresses, task, other, children=()):
    """Wait until another task's server answers. Raises UserError if it does not in time."""
    say("Task %d waits for %s, %g s at most." % (task, title(addresses, other), START))
    deadline = time.monotonic() + START
    while silence(addresses[other], LOST):
        for child in children:
            if child.poll() is not None:
                raise UserError("task %d has ended, with exit code %d." % (other, child.poll()))
        if time.monotonic() > deadline:
            raise UserError("%s did not answer within %g s: start all tasks again."
                            % (title(addresses, other), START))
        time.sleep(0.2)


def title(addresses, task):
    """Return what a task is called in a sentence."""
    return "task %d (%s)" % (task, addresses[task])


def child():
    """Run a worker of `--processes`; end with the process that has started it."""
    def end_with_parent():
        os.read(0, 1)  # returns when the parent ends and the pipe is closed
        os._exit(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    with contextlib.suppress(UserError):  # task 0 prints it
        work(*json.loads(sys.argv[1]))


if __name__ == "__main__":
    console.run(child)
