"""Several processes train what one trains; whichever of them fails, all stop, and go on later."""
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
from dataclasses import replace

import numpy as np
import pytest
from helpers import (FULL, TRAIN, assert_same_bits, block, remembered, run_command, small_run, start, state,
                     states, unblock, variables)

from ex03_cifar import options as command_line
from ex03_cifar import whole_batch
from ex03_cifar.augment import training_batch
from ex03_cifar.cluster import ShareOfRandom
from ex03_cifar.recipes import RECIPES
from support.console import UsageError
from support.peers import LOST, free_addresses, restrict
from support.tf1 import tf


class Cluster:
    """The processes of a training, each with its output in a file; killed at the end."""

    def __init__(self, folder, arguments, count=2, tasks=None, **of_one):
        """Args: of_one: task1=[...], what is added to the command line of a single task."""
        self.addresses = free_addresses(count)
        os.makedirs(folder, exist_ok=True)
        self.outputs = {task: os.path.join(folder, "out%d" % task) for task in range(count)}
        self.processes = {
            task: start(TRAIN, arguments + ["--cluster", ",".join(self.addresses), "--task",
                                            str(task)] + of_one.get("task%d" % task, []),
                        self.outputs[task])
            for task in (range(count) if tasks is None else tasks)}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes.values():
            process.kill()
            process.join()

    def end(self, timeout=60):
        """Wait for all; return a dict of task to (exit code, what it printed)."""
        for process in self.processes.values():
            process.join(timeout)
        return {task: (process.exitcode, self.text(task))
                for task, process in self.processes.items()}

    def text(self, task):
        with open(self.outputs[task]) as stream:
            return stream.read()

    def wait_for(self, sentence, task=0):
        """Wait until a task has printed a sentence."""
        end = time.monotonic() + 60
        while not os.path.exists(self.outputs[task]) or sentence not in self.text(task):
            assert time.monotonic() < end and self.processes[task].is_alive(), self.text(task)
            time.sleep(0.02)


def train(folder, arguments, count=2):
    """Train with so many processes to a good end; return what each printed, a list."""
    with Cluster(folder, arguments, count) as cluster:
        ended = cluster.end()
    assert {code for code, _ in ended.values()} == {0}, ended
    return [ended[task][1] for task in range(count)]


def assert_quiet(text):
    """No report of Python's or TensorFlow's, and one error at most."""
    assert "Traceback" not in text and text.count("error:") <= 1, text
    assert not re.search(r"\.cc:\d+\]|rpc|Collective", text), text


@pytest.fixture(scope="module")
def undisturbed(small_data, tmp_path_factory):
    """The folder of a run of two processes, what they printed, and its seconds."""
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    began = time.time()
    texts = train(folder, small_run(small_data, folder))
    return folder, texts, time.time() - began


@pytest.fixture(scope="module")
def unreleased(small_data, tmp_path_factory):
    """The folder of the same run, all of it done but for the release, and how each task ended."""
    folder = str(tmp_path_factory.mktemp("unreleased"))
    block(folder)
    with Cluster(folder, small_run(small_data, folder)) as cluster:
        ended = cluster.end()
    unblock(folder)
    return folder, ended


@pytest.mark.parametrize("count", (2, 3, 4) if FULL else (2,))
def test_16_steps_have_the_losses_of_one_process(small_data, tmp_path, count):
    """An epoch is a step here, and its line tells the step's loss."""
    losses = []
    for processes in 1, count:
        folder = str(tmp_path / str(processes))
        arguments = small_run(small_data, folder, validation=0, batch_size=500, epochs=16,
                            save_every=600) + ["--selection-start", "1"]
        block(folder)  # the last state then stays, with all digits
        with Cluster(folder, arguments, processes) if processes > 1 else Alone(
                folder, arguments) as cluster:
            cluster.end()
        with open(glob.glob(os.path.join(state(folder, 16), "*.json"))[0]) as stream:
            losses.append([line["loss"] for line in json.load(stream)["notes"]["history"]])
    assert len(losses[0]) == 16
    assert losses[0][:8] == pytest.approx(losses[1][:8], rel=5e-4)
    # Rounding grows from step to step, and on another number of cores just as much.
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


@pytest.mark.parametrize("progress", (0.1, 0.5, 0.9))
def test_the_shares_of_a_batch_are_augmented_as_the_whole(progress):
    recipe = replace(RECIPES["fast"], scale_jitter_prob=0.5, colour_jitter_prob=0.5)
    images = np.random.RandomState(1).randint(0, 256, (7, 32, 32, 3)).astype(np.uint8)
    mirrored = np.arange(7) % 2 == 0
    whole = training_batch(images, mirrored, recipe, progress, np.random.RandomState(0))
    shares = [training_batch(images[part], mirrored[part], recipe, progress,
                             ShareOfRandom(np.random.RandomState(0), 7, part))
              for part in (slice(0, 3), slice(3, 7))]
    np.testing.assert_array_equal(np.concatenate(shares), whole)


def test_normalisation_over_one_share_is_that_of_tf_layers():
    rng = np.random.RandomState(0)
    values, weights = rng.randn(2, 6, 5, 5, 4).astype(np.float32)
    results = []
    for whole in True, False:
        with tf.Graph().as_default() as graph:
            x = tf.constant(3 * values + 5)
            if whole:
                y = whole_batch.normalization(x, lambda tensor, name: tf.identity(tensor),
                                              momentum=0.9, epsilon=1e-5, name="norm")
            else:
                y = tf.layers.batch_normalization(x, scale=False, momentum=0.9, epsilon=1e-5,
                                                  training=True, name="norm")
            offset, = tf.trainable_variables()
            gradients = tf.gradients(tf.reduce_sum(y * weights), [x, offset])
            with tf.Session(graph=graph) as session:
                session.run(tf.global_variables_initializer())
                computed = session.run([y] + gradients)
                session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
                moving = session.run({v.op.name: v for v in tf.global_variables()})
        assert set(moving) == {"norm/beta", "norm/moving_mean", "norm/moving_variance"}
        results.append(computed + [moving[name] for name in sorted(moving)])
    for first, second in zip(*results):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


class Alone(Cluster):
    """The same of one process."""

    def __init__(self, folder, arguments):
        self.outputs = {0: os.path.join(folder, "out")}
        self.processes = {0: start(TRAIN, arguments, self.outputs[0])}


def test_two_runs_end_in_the_same_bits_and_tell_the_same(small_data, undisturbed, tmp_path):
    reference, texts, _ = undisturbed
    folder = str(tmp_path / "again")
    again = train(folder, small_run(small_data, folder))
    for name in os.listdir(reference):
        if name.startswith(("weights", "SHA256SUMS")):
            with open(os.path.join(reference, name), "rb") as first:
                with open(os.path.join(folder, name), "rb") as second:
                    assert first.read() == second.read(), name
    lines = [re.findall(r"epoch +\d+  training loss \S+  training accuracy \S+", text)
             for text in texts + again]
    assert len(lines[0]) == 3 and lines == 4 * lines[:1]
    assert [("validation accuracy" in text, "Released" in text) for text in texts] == [
        (True, True), (False, False)]


def test_a_cluster_killed_at_random_moments_ends_in_the_same_bits(
        small_data, undisturbed, unreleased, tmp_path):
    reference, _, seconds = undisturbed
    folder = str(tmp_path / "killed")
    rng = random.Random(0)
    killed, wanted = [], (0, 0, 0, 1, 1, 1) if FULL else (0, 1)
    while len(killed) < len(wanted):
        victim = wanted[len(killed)]
        with Cluster(folder, small_run(small_data, folder)) as cluster:
            cluster.wait_for("Training on", 0)
            time.sleep(rng.uniform(0, 0.5) * seconds)
            cluster.processes[victim].kill()
            died = time.monotonic()
            ended = cluster.end()
            if ended[victim][0] != -signal.SIGKILL or ended[1 - victim][0] == 0:
                shutil.rmtree(folder)  # it was through before its moment came: kill a new one
                continue
        assert time.monotonic() - died < 30
        code, text = ended[1 - victim]
        assert code == 1 and "error: task %d (%s) is gone" % (
            victim, cluster.addresses[victim]) in text
        assert_quiet(text)
        killed.append(victim)
    block(folder)
    with Cluster(folder, small_run(small_data, folder)) as cluster:
        cluster.end()
    for content in variables, remembered:
        assert_same_bits(content(state(folder, 8)), content(state(unreleased[0], 8)))
    unblock(folder)
    train(folder, small_run(small_data, folder))
    assert states(folder) == []
    assert_same_bits(variables(folder), variables(reference))


@pytest.mark.parametrize("heard", (0, 1))
def test_ctrl_c_on_any_task_stops_all_with_a_saved_state(small_data, tmp_path, heard):
    arguments = small_run(small_data, str(tmp_path), epochs=500, save_every=600)
    with Cluster(str(tmp_path), arguments) as cluster:
        cluster.wait_for("epoch  2")
        os.kill(cluster.processes[heard].pid, signal.SIGINT)
        ended = cluster.end(20)
    step = int(states(str(tmp_path))[-1][5:])
    for code, text in ended.values():
        assert code == 130 and "Interrupted after step %d, saved in " % step in text
        assert_quiet(text)


def test_what_task_0_cannot_do_ends_the_others(unreleased):
    folder, ended = unreleased
    for task, begin in (0, "error: the checkpoint"), (1, "has ended: the checkpoint"):
        code, text = ended[task]
        assert code == 1 and begin + " cannot be written to %s" % folder in text
        assert_quiet(text)


def test_one_process_goes_on_with_the_state_of_two_and_says_what_that_means(
        small_data, unreleased, tmp_path):
    folder = shutil.copytree(unreleased[0], str(tmp_path / "copy"))
    with Alone(folder, small_run(small_data, folder)) as alone:
        (code, text), = alone.end().values()
    assert code == 0 and "Going on from step 8 " in text
    assert "Saved with processes: 2, now 1: the same to rounding, not bit for bit." in text


def test_other_options_are_refused_and_named(small_data, tmp_path):
    with Cluster(str(tmp_path), small_run(small_data, str(tmp_path)),
                 task1=["--seed", "7", "--learning-rate", "0.2"]) as cluster:
        ended = cluster.end(20)
    for code, text in ended.values():
        assert code == 2 and "task 1 (%s) and task 0 (%s) differ" % (
            cluster.addresses[1], cluster.addresses[0]) in text
        assert "learning_rate 0.2 and 0.13; seed 7 and 0." in text
        assert_quiet(text)
    assert states(str(tmp_path)) == []


def test_other_data_are_refused(small_data, tmp_path):
    data = shutil.copytree(small_data, str(tmp_path / "data"))
    with open(os.path.join(data, "data_batch_1.bin"), "r+b") as stream:
        stream.seek(100)
        stream.write(b"\xff")
    with Cluster(str(tmp_path), small_run(small_data, str(tmp_path)),
                 task1=["--data-dir", data]) as cluster:
        ended = cluster.end(20)
    for code, text in ended.values():
        assert code == 2 and re.search(r"differ: data \d+ and \d+\.", text), text
        assert_quiet(text)


@pytest.mark.parametrize("there", (0, 1))
def test_who_waits_says_for_whom_and_gives_up(small_data, tmp_path, there):
    arguments = small_run(small_data, str(tmp_path)) + ["--cluster-timeout", "1"]
    with Cluster(str(tmp_path), arguments, tasks=[there]) as cluster:
        (code, text), = cluster.end(20).values()
    other = "task %d (%s)" % (1 - there, cluster.addresses[1 - there])
    assert code == 1 and "waits for %s, 1 s at most" % other in text
    assert "error: %s did not " % other in text and "--cluster-timeout" in text
    assert_quiet(text)


def test_an_address_of_another_machine_is_refused_at_once(small_data, tmp_path):
    with Alone(str(tmp_path), small_run(small_data, str(tmp_path)) + [
            "--cluster", "192.0.2.200:2222,127.0.0.1:2223", "--task", "0"]) as cluster:
        (code, text), = cluster.end(20).values()
    assert code == 1 and "task 0 (192.0.2.200:2222) cannot listen there: " in text
    assert_quiet(text)


def test_processes_starts_them_all_on_this_machine(small_data, tmp_path):
    folder = str(tmp_path)
    done = run_command(sys.executable, "-m", TRAIN, "--processes", "2",
                       *small_run(small_data, folder))
    assert done.returncode == 0 and "Released" in done.stdout, done.stderr
    assert done.stdout.count("epoch  1") == 1  # the others do not repeat it


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is the kernel's")
def test_a_restricted_port_is_reached_by_one_address_only():
    server = socket.socket()
    server.bind(("0.0.0.0", 0))
    server.listen(5)
    port = server.getsockname()[1]
    restrict(port, "127.0.0.1")
    with server, socket.create_connection(("127.0.0.1", port), timeout=5):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=1)


def test_tensorflows_server_is_reached_by_the_given_address_only(small_data, tmp_path):
    arguments = small_run(small_data, str(tmp_path), epochs=500, save_every=600)
    with Cluster(str(tmp_path), arguments) as cluster:
        cluster.wait_for("epoch  1")
        for address in cluster.addresses:
            port = int(address.split(":")[1])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            for other in ("127.0.0.2", "::1"):
                with pytest.raises(OSError):
                    socket.create_connection((other, port), timeout=0.3)


@pytest.mark.parametrize("arguments, sentence", (
    (["--task", "0"], "--cluster and --task go together"),
    (["--cluster", "a:1,b:2"], "--cluster and --task go together"),
    (["--cluster", "a:1,b:2", "--task", "2"], "has the tasks 0 to 1, and no 2"),
    (["--cluster", "a:1,b:2", "--task", "0", "--processes", "2"], "starts a cluster of its own"),
    (["--processes", "3", "--batch-size", "2"], "no image for each")), ids=" ".join)
def test_contradictions_are_a_sentence(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        command_line.parse(arguments)


@pytest.mark.parametrize("text", ("a:1", "a:1,a:1", "a,b", "a:1,b:0", "a:1,:2", "a:1,b:70000"))
def test_impossible_addresses_are_a_sentence(text, capsys):
    with pytest.raises(SystemExit):
        command_line.parse(["--cluster", text, "--task", "0"])
    assert "error: argument --cluster: " in capsys.readouterr().err


def test_a_machine_that_falls_silent_is_noticed_within_30_seconds():
    assert LOST < 30
