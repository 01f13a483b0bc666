"""Several processes train one network; whichever fails, all end, and the run resumes."""
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import (FULL, ROOT, TRAIN, assert_same_bits, keep_states, small_run, start, state,
                     states, variables)

from ex03_cifar import cluster
from ex03_cifar import options as command_line
from ex03_cifar.network import network
from ex03_cifar.towers import towers
from support import ports
from support.console import UsageError, UserError
from support.tf1 import tf

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")


class Task:
    """A process of a training, with its output in a file."""

    def __init__(self, path, arguments, prepare=None):
        self.path, self.process = path, start(TRAIN, arguments, path, prepare=prepare)

    def text(self):
        with open(self.path, encoding="utf-8") as stream:
            return stream.read()

    def wait_for(self, sentence):
        """Wait until it has printed a sentence."""
        end = time.monotonic() + 120
        while sentence not in self.text():
            assert time.monotonic() < end and self.process.is_alive(), self.text()
            time.sleep(0.02)

    def end(self):
        """Wait for its end; return (exit code, what it printed)."""
        self.process.join(120)
        return self.process.exitcode, self.text()


@contextlib.contextmanager
def tasks(folder, *command_lines, **prepare):
    """Start a training's tasks, killed at the end; the context gives them, a list of `Task`."""
    os.makedirs(folder, exist_ok=True)
    started = []
    try:
        for number, words in enumerate(command_lines):
            started.append(Task(os.path.join(folder, "out%d" % number), words, **prepare))
        yield started
    finally:
        for task in started:
            task.process.kill()
            task.process.join()


def two(folder, arguments, **prepare):
    """Start two tasks with such arguments, as `tasks` does."""
    more = ["--cluster", ",".join(ports.free_addresses(2)), "--task"]
    return tasks(folder, *[arguments + more + [str(task)] for task in (0, 1)], **prepare)


def train(folder, arguments, **prepare):
    """Train with two processes to a good end; return what each printed, a list."""
    with two(folder, arguments, **prepare) as started:
        ended = [task.end() for task in started]
    assert {code for code, _ in ended} == {0}, ended
    return [text for _, text in ended]


def assert_quiet(text):
    """No report of Python's or TensorFlow's, and one error at most."""
    assert "Traceback" not in text and text.count("error:") <= 1, text
    assert not re.search(r"\.cc:\d+\]|rpc", text), text


def assert_named(text, number):
    """What a task printed names another one that has ended."""
    assert re.search(r"error: task %d \(127.0.0.1:\d+\) has ended: " % number, text), text
    assert_quiet(text)


@pytest.fixture(scope="module")
def undisturbed(small_data, tmp_path_factory):
    """The folder of a run of two processes, with its last states, and what they printed."""
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    return folder, train(folder, small_run(small_data, folder), prepare=keep_states)


# ---- The training ----

def test_each_tower_is_the_network_of_its_shard_and_the_first_has_the_moving_averages():
    pixels = np.random.RandomState(0).randint(0, 256, (7, 32, 32, 3)).astype(np.uint8)
    shape, recorded = ([8, 8], 2, True), []
    with tf.Graph().as_default():
        logits = towers(["/device:CPU:%d" % device for device in range(3)])(
            tf.constant(pixels), *shape)
        updates = [list(tf.get_collection(tf.GraphKeys.UPDATE_OPS))]
        first = network(tf.constant(pixels[:2]), *shape)  # 7 * 1 // 3 = 2
        updates.append(tf.get_collection(tf.GraphKeys.UPDATE_OPS)[len(updates[0]):])
        wanted = [first] + [network(tf.constant(shard), *shape)
                            for shard in (pixels[2:4], pixels[4:])]
        averages = [v for v in tf.global_variables() if "moving" in v.name]
        with tf.Session(config=tf.ConfigProto(device_count={"CPU": 3})) as session:
            session.run(tf.global_variables_initializer())
            np.testing.assert_allclose(*session.run([logits, tf.concat(wanted, 0)]), rtol=1e-5)
            for updating in updates:
                session.run(tf.variables_initializer(averages))
                session.run(updating)
                recorded.append(session.run(averages))
    assert len(recorded[0]) == 10
    for one, other in zip(*recorded):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_two_runs_end_in_the_same_bits(small_data, undisturbed, tmp_path):
    reference, texts = undisturbed
    again = train(str(tmp_path), small_run(small_data, str(tmp_path)))
    assert_same_bits(variables(str(tmp_path)), variables(reference))
    lines = [re.findall(r"epoch +\d+  training loss \S+  training accuracy \S+", text)
             for text in (texts[0], again[0])]
    assert len(lines[0]) == 3 and lines[0] == lines[1]
    assert "epoch" not in texts[1] and "Task 1 computes for task 0" in texts[1]


def test_one_process_resumes_the_run_of_two_and_says_what_that_means(
        small_data, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed[0], str(tmp_path / "copy"))
    with tasks(folder, small_run(small_data, folder)) as (task,):
        code, text = task.end()
    assert code == 0 and "Resuming from step 8 " in text
    assert "Saved on 2 devices, resumed on 1: " in text


# ---- Failures ----

def test_a_cluster_killed_at_random_moments_ends_in_the_same_bits(
        small_data, undisturbed, tmp_path):
    folder = str(tmp_path / "killed")
    rng, victims = random.Random(0), [1, 1, 0, 0] if FULL else [1, 0]
    while victims:
        with two(folder, small_run(small_data, folder)) as started:
            started[0].wait_for("Training on")
            time.sleep(rng.uniform(0, 2))
            victim = started.pop(victims[-1])
            victim.process.kill()
            code, text = started[0].end()
        if os.path.exists(os.path.join(folder, "SHA256SUMS")):
            shutil.rmtree(folder)  # it was through before its moment came: kill a new one
        else:
            assert (victim.end()[0], code) == (-signal.SIGKILL, 1)
            assert_named(text, victims.pop())
    train(folder, small_run(small_data, folder), prepare=keep_states)
    for content in folder, state(folder, 8):
        assert_same_bits(variables(content), variables(content.replace(folder, undisturbed[0])))


def notice_silence_soon():
    """Have a task that is silent for a quarter of the usual time taken for lost."""
    cluster.LOST //= 4


@pytest.mark.parametrize("victim", (0, 1))
def test_the_other_task_names_the_one_that_is_silent(small_data, tmp_path, victim):
    arguments = small_run(small_data, str(tmp_path), epochs=2000, save_every=600)
    with two(str(tmp_path), arguments, prepare=notice_silence_soon) as started:
        started[0].wait_for("epoch  1")
        os.kill(started[victim].process.pid, signal.SIGSTOP)
        code, text = started[1 - victim].end()
    assert code == 1 and (victim == 0 or "Start every task again" in text)
    assert_named(text, victim)


@pytest.mark.parametrize("heard", (0, 1))
def test_ctrl_c_on_any_task_ends_all(small_data, tmp_path, heard):
    arguments = small_run(small_data, str(tmp_path), epochs=2000, save_every=600)
    with two(str(tmp_path), arguments) as started:
        started[0].wait_for("epoch  1")
        os.kill(started[heard].process.pid, signal.SIGINT)
        (code, text), (other_code, other_text) = [task.end() for task in started]
    if heard:
        assert (code, other_code) == (1, 130)
        assert_named(text, 1)
    else:
        assert (code, other_code) == (130, 130)
        said = "Interrupted after step %d, saved in " % int(states(str(tmp_path))[-1][5:])
        assert said in text and said in other_text
        assert_quiet(text)
    assert_quiet(other_text)


def test_a_worker_says_what_task_0_could_not_do(tmp_path):
    with two(str(tmp_path), small_run(str(tmp_path), str(tmp_path / "run"))) as started:
        ended = [task.end() for task in started]
    for (code, text), begin in zip(ended, ("error: ", " has ended: ")):
        assert code == 1 and begin + "%s holds neither" % tmp_path in text
        assert_quiet(text)


def test_a_task_that_waits_says_for_whom_and_gives_up(monkeypatch, capsys):
    addresses = ports.free_addresses(2)
    monkeypatch.setattr(cluster, "START", 0.1)
    silent = r"task 1 \(%s\) did not answer within 0.1 s" % addresses[1]
    with pytest.raises(UserError, match=silent):
        cluster.wait_for(addresses, 0, 1)
    assert "Task 0 waits for task 1 (%s), 0.1 s at most" % addresses[1] in capsys.readouterr().out


def test_another_tensorflow_version_is_refused():
    addresses = ["a:1", "b:2"]
    with tf.Graph().as_default(), tf.Session() as session:
        note = tf.get_variable("note", initializer=cluster.identity(addresses, 1))
        session.run(note.initializer)
        cluster.check(addresses, 1, session, note)
        note.load("task 1 of a:1,b:2, TensorFlow 0.12", session)
        with pytest.raises(UsageError, match=r"task 1 \(b:2\) and task 0 \(a:1\) differ: .*"
                                             "0.12' there, .*%s' here" % tf.VERSION):
            cluster.check(addresses, 1, session, note)


def test_an_address_of_another_machine_is_refused_at_once():
    with pytest.raises(UserError, match=r"task 0 \(192.0.2.200:2222\) cannot listen there: "):
        cluster.serve(["192.0.2.200:2222", "127.0.0.1:2223"], 0, threads=1)


# ---- All processes on one machine ----

def alive(pid):
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        with open("/proc/%d/stat" % pid) as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@LINUX
@pytest.mark.parametrize("number, code, begun", (
    (None, 0, ""), (signal.SIGINT, 130, "epoch  1"), (signal.SIGKILL, -9, "")))
def test_processes_on_one_machine_end_together(small_data, tmp_path, number, code, begun):
    arguments = small_run(small_data, str(tmp_path), epochs=2000 if number else 3)
    process = subprocess.Popen(
        [sys.executable, "-m", TRAIN, "--processes", "2"] + arguments, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    worker = line = ""
    while not worker:
        with open("/proc/{0}/task/{0}/children".format(process.pid)) as stream:
            worker = stream.read()
    while begun not in line:
        line = process.stdout.readline()
    if number:
        process.send_signal(number)
    text = process.communicate(timeout=120)[0]
    assert process.returncode == code and "Traceback" not in text, text
    assert number or text.count("epoch  1") == 1 and "Saved the weights" in text
    end = time.monotonic() + 30
    while alive(int(worker.split()[0])):
        assert time.monotonic() < end
        time.sleep(0.1)


# ---- Who reaches the server, and wrong usage ----

@LINUX
def test_tensorflows_server_is_reached_by_the_given_address_only():
    address, = ports.free_addresses(1)
    host, port = ports.split(address)
    server = cluster.serve([address], 0, threads=1)
    assert server.target.startswith("grpc://")
    socket.create_connection((host, port), timeout=5).close()
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
    (["--cluster", "127.0.0.1:1,127.0.0.1:2", "--task", "2"], "--cluster has the tasks 0 to 1"),
    (["--cluster", "127.0.0.1:1,127.0.0.1:2", "--task", "0", "--processes", "2"], "of its own"),
    (["--processes", "3", "--batch-size", "2"], "at least one image for each process"),
    (["--cluster", "127.0.0.1:1", "--task", "0"], "two or more different addresses"),
    (["--cluster", "127.0.0.1:1,localhost:01"], "two or more different addresses"),
    (["--cluster", "no-such-host.invalid:1,localhost:2"], "'no-such-host.invalid' has no IPv4"),
    (["--cluster", "[::1]:1,[::1]:2"], "a name or an IPv4 address, got '[::1]:1'"),
    (["--cluster", "127.0.0.1:1,b:70000"], "HOST:PORT")))
def test_contradictory_options_are_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.parse(arguments)
    assert ended.value.code == 2 and sentence in capsys.readouterr().err
