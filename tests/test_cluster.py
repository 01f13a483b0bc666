"""Several processes train what one trains; whichever fails, all end, and the run resumes."""
import glob
import json
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

from ex03_cifar import cluster, network, shards
from ex03_cifar import options as command_line
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


# ---- The same training ----

@pytest.mark.parametrize("mean", (0, 3000))
@pytest.mark.parametrize("devices", (1, 3))
def test_synchronised_normalisation_is_that_of_the_whole_batch(mean, devices):
    """A variance in one pass, E[x²] - E[x]², would be off by thousands at this mean in float32."""
    rng = np.random.RandomState(0)
    x = (3 * rng.randn(7, 5, 5, 4) + mean).astype(np.float32)
    weights = rng.randn(*x.shape)
    names = ["/device:CPU:%d" % device for device in range(devices)]
    with tf.Graph().as_default() as graph, tf.device("/device:CPU:0"):
        fed = tf.constant(x)
        bounds = [7 * place // devices for place in range(devices + 1)]
        parts = shards.each([fed[begin:end] for begin, end in zip(bounds, bounds[1:])],
                            tf.identity, devices=names)
        y = network.batch_normalization(parts, True, "norm")
        assert [part.device[-5:] for part in y] == [name[-5:] for name in names]
        y = tf.concat(y, 0)
        offset, = tf.trainable_variables()
        gradients = tf.gradients(tf.reduce_sum(y * weights.astype(np.float32)), [fed, offset],
                                 colocate_gradients_with_ops=True)
        with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"CPU": 3})) as session:
            session.run(tf.global_variables_initializer())
            y, to_x, to_offset = session.run([y] + gradients)
            session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
            moving = session.run({v.op.name: v for v in tf.global_variables()})
    exact = x.astype(np.float64)
    means, variances = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    normal = (exact - means) / np.sqrt(variances + 1e-5)
    expected = (weights - weights.mean((0, 1, 2)) - normal * (weights * normal).mean((0, 1, 2))
                ) / np.sqrt(variances + 1e-5)
    tolerance = 1e-5 if mean == 0 else 2e-3  # float32 has 7 digits, the mean takes 4 of them
    np.testing.assert_allclose(y, normal, atol=tolerance)
    np.testing.assert_allclose(to_x, expected, atol=tolerance)
    np.testing.assert_allclose(to_offset, weights.sum((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(moving["norm/moving_mean"], 0.1 * means, rtol=1e-5, atol=1e-6)
    unbiased = variances * 175 / 174
    np.testing.assert_allclose(moving["norm/moving_variance"], 0.9 + 0.1 * unbiased, rtol=1e-3)


@pytest.mark.parametrize("count", (2, 3, 4) if FULL else (2,))
def test_16_steps_have_the_losses_of_one_process(small_data, tmp_path, count):
    """An epoch is a step here, and its line shows the step's loss."""
    losses = []
    for processes in 1, count:
        folder = str(tmp_path / str(processes))
        block(folder)  # the last state then stays, with all digits
        with Cluster(folder, small_run(small_data, folder, validation=0, batch_size=500, epochs=16,
                                       save_every=600, selection_start=1), processes) as running:
            running.end()
        with open(glob.glob(os.path.join(state(folder, 16), "*.json"))[0]) as stream:
            losses.append([line["loss"] for line in json.load(stream)["notes"]["history"]])
    assert len(losses[0]) == 16
    assert losses[0][:7] == pytest.approx(losses[1][:7], rel=5e-4)
    # Rounding grows from step to step, and on another number of cores or processor just as much.
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


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
    assert "Saved on 2 devices, resumed on 1: the same to rounding, not bit for bit." in text


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
    cluster.LOST /= 4


@pytest.mark.parametrize("number, seconds", ((signal.SIGKILL, 10), (signal.SIGSTOP, 60)))
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


def test_another_tensorflow_version_is_refused_and_another_program_ignored(tmp_path, small_data):
    with Cluster(str(tmp_path), small_run(small_data, str(tmp_path)), tasks=[0]) as processes:
        answers = iter([b"HTTP/1.1 400 Bad Request\r\n", cluster.identity(
            processes.addresses, 1).replace(tf.VERSION, "0.12").encode() + b"\n"])
        with ports.bound(*ports.split(processes.addresses[1])) as listener:
            listener.listen(1)
            for answer in answers:
                with listener.accept()[0] as stream:
                    stream.sendall(answer)
                    said = b"".join(iter(lambda: stream.recv(10000), b"")).decode()
        (code, text), = processes.end(60).values()
    sentence = "task 1 (%s) and task 0 (%s) differ: " % tuple(reversed(processes.addresses))
    assert code == 2 and "error: " + sentence in text
    assert said.splitlines()[-1].startswith('[2, "' + sentence)
    assert "TensorFlow 0.12' there" in text and "TensorFlow %s' here." % tf.VERSION in text
    assert_quiet(text)


def test_a_port_scan_does_not_disturb_a_worker(tmp_path, small_data):
    arguments = small_run(small_data, str(tmp_path))
    with Cluster(str(tmp_path), arguments, tasks=[1]) as processes:
        processes.wait_for("waits for", 1)
        address = ports.split(processes.addresses[1])
        socket.create_connection(address).close()
        with socket.create_connection(address) as scanner:
            scanner.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with socket.create_connection(address) as stream:
                stream.sendall(b"\n")
                assert cluster.read_line(stream) == cluster.identity(processes.addresses, 1)
                stream.sendall(b'[1, "that is enough."]\n')
                (code, text), = processes.end(60).values()
    assert code == 1 and "error: task 0 (%s) has ended: that is enough.\n" % (
        processes.addresses[0]) in text


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
    assert cluster.serve([address], 0) is not None
    assert "block port %s" % address.split(":")[1] in capsys.readouterr().out


@pytest.mark.parametrize("arguments, sentence", (
    (["--task", "0"], "--cluster and --task go together"),
    (["--cluster", "a:1,b:2"], "--cluster and --task go together"),
    (["--cluster", "a:1,b:2", "--task", "2"], "--task 2: --cluster has the tasks 0 to 1"),
    (["--cluster", "a:1,b:2", "--task", "0", "--processes", "2"], "starts a cluster of its own"),
    (["--processes", "3", "--batch-size", "2"], "at least one image for each process"),
    (["--cluster", "a:1", "--task", "0"], "--cluster"), (["--cluster", "a:1,a:1"], "--cluster"),
    (["--cluster", "a,b"], "--cluster"), (["--cluster", "a:1,b:70000"], "--cluster")))
def test_contradictory_options_are_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.parse(arguments)
    assert ended.value.code == 2 and sentence in capsys.readouterr().err
