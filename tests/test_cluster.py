"""Several processes train one network; whichever fails, all end, and the run resumes."""
import os
import random
import re
import shutil
import signal
import socket
import sys
import time

import numpy as np
import pytest
from helpers import (FULL, TRAIN, assert_same_bits, block, remembered, small_run, start,
                     start_command, state, states, unblock, variables)

from ex03_cifar import cluster
from ex03_cifar import options as command_line
from ex03_cifar.network import network
from ex03_cifar.towers import towers
from support import ports
from support.tf1 import tf

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the filter is Linux's")


class Cluster:
    """The processes of a training, each with its output in a file; killed at the end."""

    def __init__(self, folder, arguments, count=2, tasks=None, prepare=None):
        """Args: tasks: those to start, by default all `count`; a count of 1 is no cluster."""
        self.addresses = ports.free_addresses(count)
        os.makedirs(folder, exist_ok=True)
        self.outputs = {task: os.path.join(folder, "out%d" % task) for task in range(count)}
        more = ["--cluster", ",".join(self.addresses), "--task"] if count > 1 else []
        self.processes = {
            task: start(TRAIN, arguments + (more and more + [str(task)]), self.outputs[task],
                        prepare=prepare)
            for task in (range(count) if tasks is None else tasks)}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes.values():
            process.kill()
            process.join()

    def end(self, timeout=120):
        """Wait for all; return a dict of task to (exit code, what it printed)."""
        for process in self.processes.values():
            process.join(timeout)
        return {task: (process.exitcode, self.text(task))
                for task, process in self.processes.items()}

    def text(self, task):
        if not os.path.exists(self.outputs[task]):
            return ""
        with open(self.outputs[task], encoding="utf-8") as stream:
            return stream.read()

    def wait_for(self, sentence, task=0):
        """Wait until a task has printed a sentence."""
        end = time.monotonic() + 120
        while sentence not in self.text(task):
            assert time.monotonic() < end and self.processes[task].is_alive(), self.text(task)
            time.sleep(0.02)

    def wait_for_error(self, task, seconds):
        """Wait until a task has printed an error, so many seconds at most; return its text."""
        end = time.monotonic() + seconds
        while "error: " not in self.text(task):
            assert time.monotonic() < end, self.text(task)
            time.sleep(0.05)
        self.processes[task].join(60)
        return self.text(task)


def train(folder, arguments, count=2):
    """Train with so many processes to a good end; return what each printed, a list."""
    with Cluster(folder, arguments, count) as processes:
        ended = processes.end()
    assert {code for code, _ in ended.values()} == {0}, ended
    return [ended[task][1] for task in range(count)]


def assert_quiet(text):
    """No report of Python's or TensorFlow's, and one error at most."""
    assert "Traceback" not in text and text.count("error:") <= 1, text
    assert not re.search(r"\.cc:\d+\]|rpc", text), text


@pytest.fixture(scope="module")
def undisturbed(small_data, tmp_path_factory):
    """The folder of a run of two processes and what they printed."""
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    return folder, train(folder, small_run(small_data, folder))


@pytest.fixture(scope="module")
def unreleased(small_data, tmp_path_factory):
    """The folder of the same run, all of it done but the release, and how each task ended."""
    folder = str(tmp_path_factory.mktemp("unreleased"))
    block(folder)
    with Cluster(folder, small_run(small_data, folder)) as processes:
        ended = processes.end()
    unblock(folder)
    return folder, ended


# ---- The training ----

def test_each_tower_is_the_network_of_its_shard_and_the_first_has_the_moving_averages():
    pixels = np.random.RandomState(0).randint(0, 256, (7, 32, 32, 3)).astype(np.uint8)
    names = ["/device:CPU:%d" % device for device in range(3)]
    shape = [8, 8], 2, True
    with tf.Graph().as_default() as graph:
        images = tf.constant(pixels)
        logits = towers(names)(images, *shape)
        first = network(images[:2], *shape)
        # ends of the shards: 7 * 1 // 3 = 2 and 7 * 2 // 3 = 4
        wanted = [first] + [network(images[begin:end], *shape) for begin, end in ((2, 4), (4, 7))]
        convolutions = [operation.device[-5:] for operation in graph.get_operations()
                        if operation.type == "Conv2D"][:15]
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        ours, of_first = updates[:10], updates[10:20]
        averages = [v for v in tf.global_variables() if "moving" in v.name]
        with tf.Session(config=tf.ConfigProto(device_count={"CPU": 3})) as session:
            session.run(tf.global_variables_initializer())
            np.testing.assert_allclose(*session.run([logits, tf.concat(wanted, 0)]), rtol=1e-5)
            recorded = []
            for updating in ours, of_first:
                session.run(tf.variables_initializer(averages))
                session.run(updating)
                recorded.append(session.run(averages))
    assert convolutions == 5 * ["CPU:0"] + 5 * ["CPU:1"] + 5 * ["CPU:2"]
    assert len(updates) == 40 and len(averages) == 10
    for one, other in zip(*recorded):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_two_runs_end_in_the_same_bits(small_data, undisturbed, tmp_path):
    reference, texts = undisturbed
    folder = str(tmp_path / "again")
    again = train(folder, small_run(small_data, folder))
    assert_same_bits(variables(folder), variables(reference))
    lines = [re.findall(r"epoch +\d+  training loss \S+  training accuracy \S+", text)
             for text in (texts[0], again[0])]
    assert len(lines[0]) == 3 and lines[0] == lines[1]
    assert "epoch" not in texts[1] and "Task 1 computes for task 0" in texts[1]


def test_one_process_resumes_the_run_of_two_and_says_what_that_means(
        small_data, unreleased, tmp_path):
    folder = shutil.copytree(unreleased[0], str(tmp_path / "copy"))
    text, = train(folder, small_run(small_data, folder), count=1)
    assert "Resuming from step 8 " in text
    assert "Saved on 2 devices, resumed on 1: " in text


# ---- Failures ----

def test_a_cluster_killed_at_random_moments_ends_in_the_same_bits(
        small_data, undisturbed, unreleased, tmp_path):
    folder = str(tmp_path / "killed")
    rng = random.Random(0)
    killed, wanted = 0, (0, 0, 1, 1) if FULL else (0, 1)
    while killed < len(wanted):
        victim = wanted[killed]
        with Cluster(folder, small_run(small_data, folder)) as processes:
            processes.wait_for("Training on")
            time.sleep(rng.uniform(0, 2))
            processes.processes[victim].kill()
            ended = processes.end()
        if ended[victim][0] == -signal.SIGKILL and ended[1 - victim][0]:
            killed += 1
            assert victim == 0 or bool(states(folder)) == ("last saved state" in ended[0][1])
        else:
            shutil.rmtree(folder)  # it was through before its moment came: kill a new one
    block(folder)
    with Cluster(folder, small_run(small_data, folder)) as processes:
        processes.end()
    for content in variables, remembered:
        assert_same_bits(content(state(folder, 8)), content(state(unreleased[0], 8)))
    unblock(folder)
    train(folder, small_run(small_data, folder))
    assert states(folder) == []
    assert_same_bits(variables(folder), variables(undisturbed[0]))


def notice_silence_soon():
    """Have a task that is silent for a quarter of the usual time taken for lost."""
    cluster.LOST //= 4


@pytest.mark.parametrize("number, seconds", ((signal.SIGKILL, 30), (signal.SIGSTOP, 60)))
@pytest.mark.parametrize("victim", (0, 1))
def test_the_other_task_names_the_one_that_is_dead_or_silent(
        small_data, tmp_path, victim, number, seconds):
    arguments = small_run(small_data, str(tmp_path), epochs=2000, save_every=600)
    with Cluster(str(tmp_path), arguments,
                 prepare=None if FULL else notice_silence_soon) as processes:
        processes.wait_for("epoch  1")
        os.kill(processes.processes[victim].pid, number)
        text = processes.wait_for_error(1 - victim, seconds)
        code = processes.processes[1 - victim].exitcode
    assert code == 1 and "error: task %d (%s) has ended: " % (
        victim, processes.addresses[victim]) in text
    assert victim == 0 or "Start every task again; nothing had been saved." in text
    assert_quiet(text)


@pytest.mark.parametrize("heard", (0, 1))
def test_ctrl_c_on_any_task_ends_all(small_data, tmp_path, heard):
    arguments = small_run(small_data, str(tmp_path), epochs=2000, save_every=600)
    with Cluster(str(tmp_path), arguments) as processes:
        processes.wait_for("epoch  1")
        os.kill(processes.processes[heard].pid, signal.SIGINT)
        ended = processes.end(60)
    assert ended[heard][0] == 130 and ended[1 - heard][0] == (1 if heard else 130), ended
    for _, text in ended.values():
        assert_quiet(text)
    if heard:
        assert "error: task 1 (%s) has ended: " % processes.addresses[1] in ended[0][1]
    else:
        step = int(states(str(tmp_path))[-1][5:])
        for _, text in ended.values():
            assert "Interrupted after step %d, saved in " % step in text


def test_a_worker_says_what_task_0_could_not_do(unreleased):
    folder, ended = unreleased
    for task, begin in (0, "error: the checkpoint"), (1, "has ended: the checkpoint"):
        code, text = ended[task]
        assert code == 1 and begin + " cannot be written to %s" % folder in text
        assert_quiet(text)


@pytest.mark.parametrize("there", (0, 1))
def test_a_task_that_waits_says_for_whom_and_gives_up(small_data, tmp_path, there):
    arguments = small_run(small_data, str(tmp_path)) + ["--cluster-timeout", "1"]
    with Cluster(str(tmp_path), arguments, tasks=[there]) as processes:
        (code, text), = processes.end(60).values()
    other = "task %d (%s)" % (1 - there, processes.addresses[1 - there])
    assert code == 1 and "waits for %s, 1 s at most" % other in text
    assert "error: %s did not " % other in text and "--cluster-timeout" in text
    assert_quiet(text)


def have_another_tensorflow():
    tf.VERSION = "0.12"


def test_another_tensorflow_version_is_refused(tmp_path, small_data):
    arguments = small_run(small_data, str(tmp_path))
    with Cluster(str(tmp_path), arguments, tasks=[0]) as first:
        version = tf.VERSION
        first.processes[1] = start(
            TRAIN, arguments + ["--cluster", ",".join(first.addresses), "--task", "1"],
            first.outputs[1], prepare=have_another_tensorflow)
        ended = first.end(60)
    for task, code, begin in (0, 2, "error: "), (1, 1, "has ended: "):
        assert ended[task][0] == code
        assert begin + "task 1 (%s) and task 0 (%s) differ: " % tuple(
            reversed(first.addresses)) in ended[task][1]
        assert "TensorFlow 0.12' there" in ended[task][1]
        assert "TensorFlow %s' here." % version in ended[task][1]
        assert_quiet(ended[task][1])


def test_an_address_of_another_machine_is_refused_at_once(small_data, tmp_path):
    arguments = small_run(small_data, str(tmp_path)) + [
        "--cluster", "192.0.2.200:2222,127.0.0.1:2223", "--task", "0"]
    with Cluster(str(tmp_path), arguments, count=1) as processes:
        (code, text), = processes.end(60).values()
    assert code == 1 and "task 0 (192.0.2.200:2222) cannot listen there: " in text
    assert_quiet(text)


# ---- All processes on one machine ----

def descendants(pid):
    """Return the processes that a process has started, a list of their ids."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as stream:
        return [int(child) for child in stream.read().split()]


def alive(pid):
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        with open("/proc/%d/stat" % pid) as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked for in /proc")
@pytest.mark.parametrize("number, code, begun", (
    (None, 0, None), (signal.SIGINT, 130, True), (signal.SIGKILL, -9, False),
    (signal.SIGINT, 130, False), (signal.SIGKILL, -9, True))[:5 if FULL else 3])
def test_processes_on_one_machine_end_together(small_data, tmp_path, number, code, begun):
    arguments = small_run(small_data, str(tmp_path), epochs=2000 if number else 3)
    process = start_command(sys.executable, "-m", TRAIN, "--processes", "3" if FULL else "2", *arguments)
    workers, lines = [], []
    while len(workers) < (2 if FULL else 1):
        workers = descendants(process.pid)
    if begun:
        while not lines or "epoch" not in lines[-1]:
            lines.append(process.stdout.readline())
    if number:
        process.send_signal(number)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == code and "Traceback" not in errors, errors
    assert number or out.count("epoch  1") == 1 and "Saved the weights" in out
    end = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < end
        time.sleep(0.1)


# ---- Who reaches the server, and wrong usage ----

@LINUX
def test_tensorflows_server_is_reached_by_the_given_address_only(small_data, tmp_path):
    arguments = small_run(small_data, str(tmp_path), epochs=2000, save_every=600)
    with Cluster(str(tmp_path), arguments) as processes:
        processes.wait_for("epoch  1")
        for address in processes.addresses:
            port = ports.split(address)[1]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            for other in ("127.0.0.2", "::1"):
                with pytest.raises(OSError):
                    socket.create_connection((other, port), timeout=0.3)


def test_where_the_system_has_no_filter_the_server_starts_with_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(ports.os.path, "isdir", lambda path: False)
    address, = ports.free_addresses(1)
    assert cluster.serve([address], 0, threads=1) is not None
    assert "block port %s" % address.split(":")[1] in capsys.readouterr().out


@pytest.mark.parametrize("arguments, sentence", (
    (["--task", "0"], "--cluster and --task go together"),
    (["--cluster", "127.0.0.1:1,127.0.0.1:2"], "--cluster and --task go together"),
    (["--cluster", "127.0.0.1:1,127.0.0.1:2", "--task", "2"], "--cluster has the tasks 0 to 1"),
    (["--cluster", "127.0.0.1:1,127.0.0.1:2", "--task", "0", "--processes", "2"], "of its own"),
    (["--processes", "3", "--batch-size", "2"], "at least one image for each process"),
    (["--cluster", "127.0.0.1:1", "--task", "0"], "two or more different addresses"),
    (["--cluster", "127.0.0.1:1,localhost:01"], "two or more different addresses"),
    (["--cluster", "no-such-host.invalid:1,localhost:2"], "'no-such-host.invalid' has no IPv4"),
    (["--cluster", "[::1]:1,[::1]:2"], "a name or an IPv4 address, got '[::1]:1'"),
    (["--cluster", "a,b"], "HOST:PORT"), (["--cluster", "127.0.0.1:1,b:70000"], "HOST:PORT")))
def test_contradictory_options_are_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.parse(arguments)
    assert ended.value.code == 2 and sentence in capsys.readouterr().err
