"""A release is refused unless it equals its manifest, and is replaced in one step."""
import contextlib
import os
import random
import re
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from helpers import CONTEXT, FULL, ROOT, generated_images, release, run, run_command

from ex03_cifar.classifier import Classifier
from support import checkpoint
from support.environment import quoted
from support.tf1 import tf

POSITIONS = 40  # of a flipped byte and of a cut, in each file


def refusal(folder):
    """Return why the checkpoint in `folder` is refused, or None where it is used."""
    try:
        Classifier(folder).session.close()
    except checkpoint.CheckpointError as error:
        return str(error)
    return None


def prediction(folder, **options):
    """Return the probabilities of a picture by the network in `folder`, as bytes."""
    return Classifier(folder, **options).predict([[generated_images(1, seed=0)[0]]]).tobytes()


def verified(folder):
    """Return the names of the files in `folder` that a reader verifies: not TensorFlow's own."""
    return sorted(set(os.listdir(folder)) - {"checkpoint", ".lock"})


@pytest.fixture
def released(tmp_path):
    folder = str(tmp_path / "release")
    release(folder, seed=0)
    assert refusal(folder) is None
    return folder


def test_a_release_is_listed_for_sha256sum(released):
    done = run_command("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=released)
    assert done.returncode == 0 and done.stdout.count(": OK") == 4
    assert len(os.listdir(released)) == 7


def test_half_precision_halves_the_file_and_rounds_once(tmp_path):
    values = np.random.RandomState(0).randn(200, 300).astype(np.float32)
    with tf.Graph().as_default() as graph, checkpoint.for_inference(lambda name: name == "half"):
        for name in "half", "whole":
            tf.identity(tf.get_variable(name, values.shape), name + "_read")
    checkpoint.save_weights(str(tmp_path), checkpoint.meta_graph(graph),
                            {"half": values, "whole": values}, {})
    with tf.Graph().as_default(), tf.Session() as session:
        prefix = tf.train.latest_checkpoint(str(tmp_path))
        tf.train.import_meta_graph(prefix + ".meta").restore(session, prefix)
        half, whole = session.run(["half_read:0", "whole_read:0"])
    assert os.path.getsize(prefix + ".data-00000-of-00001") == (2 + 4) * values.size
    assert half.dtype == np.float32 and np.array_equal(whole, values)
    np.testing.assert_array_equal(half, values.astype(np.float16))


EVERY_WAY = """
with tf.Graph().as_default(), tf.Session() as session:
    tf.import_graph_def(frozen, name="")
    again = [session.run("probabilities:0", {"images:0": pixels})]
with tf.Graph().as_default(), tf.Session() as session:
    tf.saved_model.load(session, ["serve"], "saved_model")
    again.append(session.run("probabilities:0", {"images:0": pixels}))
print(abs(again[0] - first).max() + abs(again[1] - first).max() < 1e-6)
"""


@pytest.mark.parametrize("python", [sys.executable, os.environ.get("OTHER_PYTHON")])
def test_plain_tensorflow_restores_freezes_and_exports_a_release(tmp_path, python):
    """The code of docs/weights.md, on weights that this TensorFlow wrote."""
    if not python:
        pytest.skip("$OTHER_PYTHON names no second Python")
    release(str(tmp_path / "checkpoints" / "cifar10"))
    plain, _, classify = documented()
    plain = plain.replace("print(session.run(probabilities, {images: np.zeros((1, 32, 32, 3), "
                          "np.uint8)}))", "pixels = np.arange(2 * 3072, dtype=np.uint8).reshape("
                          "2, 32, 32, 3); first = session.run(probabilities, {images: pixels})")
    done = run_command(python, "-c", plain + EVERY_WAY, cwd=str(tmp_path))
    assert done.returncode == 0 and done.stdout == "True\n", done.stderr


def test_a_caller_of_the_classifier_keeps_its_eager_mode():
    done = run_command(sys.executable, "-c",
                       "import tensorflow as tf\nbefore = tf.executing_eagerly()\n" + documented()[2]
                       + "print(before == tf.executing_eagerly())")
    first = re.match(r"\[\[ *(\S+)", done.stdout)
    assert first and float(first.group(1)) > 0.9 and done.stdout.endswith("True\n"), done.stderr


def documented():
    """Return the Python code of docs/weights.md, block by block."""
    with open(os.path.join(ROOT, "docs", "weights.md"), encoding="utf-8") as stream:
        return re.findall(r"```python\n(.*?)```", stream.read(), re.DOTALL)


def test_any_flipped_byte_cut_or_missing_file_is_refused(released):
    rng = random.Random(0)
    for name in verified(released):
        path = os.path.join(released, name)
        with open(path, "rb") as stream:
            whole = stream.read()
        damaged = [None]
        for _ in range(POSITIONS):
            place = rng.randrange(len(whole))
            flipped = bytes([whole[place] ^ (1 << rng.randrange(8))])
            damaged += [whole[:place] + flipped + whole[place + 1:], whole[:place]]
        for content in damaged:
            os.remove(path)
            if content is not None:
                with open(path, "wb") as stream:
                    stream.write(content)
            reason = refusal(released)
            assert reason is not None and name in reason, (name, content and len(content))
            with open(path, "wb") as stream:
                stream.write(whole)
    assert refusal(released) is None


def test_the_refusal_of_evaluate_is_a_sentence_exit_code_2_and_no_answer(
        released, small_data):
    path, = [os.path.join(released, name) for name in verified(released)
             if name.endswith(".data-00000-of-00001")]
    with open(path, "r+b") as stream:
        stream.write(b"x")
    code, text = run("ex03_cifar.evaluate",
                     ["--checkpoint-dir", released, "--data-dir", small_data])
    assert code == 2 and text.startswith("error: %s is damaged" % path) and text.count("\n") == 1
    assert "python -m ex03_cifar.train" in text


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    folder = str(tmp_path / "foreign")
    with tf.Graph().as_default() as graph:
        tf.get_variable("dense/kernel", [3, 10])
        saver = tf.train.Saver()
        meta = tf.train.export_meta_graph().SerializeToString()
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            checkpoint.save(folder, session, saver, {".meta": meta, ".large.meta": meta})
    assert "graph is not that of this network" in refusal(folder)


def interrupted_release(folder, monkeypatch, calls):
    """Release other weights, the `calls`-th change to the disk failing; return whether one did."""
    count = [0]

    def counted(change):
        def call(*arguments):
            count[0] += 1
            if count[0] == calls:
                raise OSError(28, "No space left on device")
            return change(*arguments)
        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "fsync", "remove"):
            patch.setattr(os, name, counted(getattr(os, name)))
        with contextlib.suppress(checkpoint.CheckpointError):
            release(folder, seed=1)
    return count[0] >= calls


def test_a_release_cut_off_at_any_change_to_the_disk_leaves_the_old_or_the_new_one(
        released, tmp_path, monkeypatch):
    other = str(tmp_path / "other")
    release(other, seed=1)
    old, new = prediction(released), prediction(other)
    seen = []
    for calls in range(1, 100):
        folder = shutil.copytree(released, str(tmp_path / str(calls)))
        cut_off = interrupted_release(folder, monkeypatch, calls)
        seen.append(prediction(folder))
        release(folder, seed=2)  # and the next one tidies up
        assert len(os.listdir(folder)) == 7 and refusal(folder) is None
        if not cut_off:
            break
    assert len(seen) > 8 and seen == sorted(seen, key=[old, new].index)
    assert seen[0] == old and seen[-1] == new


def test_a_reader_during_releases_sees_the_old_or_the_new_network(tmp_path):
    """Two networks are released in turn while they are read: every prediction is one of theirs."""
    live, known, stop = str(tmp_path / "live"), [], threading.Event()
    for seed, widths in ((0, (8, 16, 16)), (1, (4, 8, 8))):
        release(live, seed, widths)
        known.append(prediction(live))

    def keep_releasing():
        while not stop.is_set():
            release(live, 0, (8, 16, 16))
            release(live, 1, (4, 8, 8))

    releasing = threading.Thread(target=keep_releasing)
    releasing.start()
    seen, end = [], time.monotonic() + 60  # both networks are met sooner or later
    try:
        while len(seen) < 12 or len(set(seen)) < 2 and time.monotonic() < end:
            seen.append(prediction(live))
    finally:
        stop.set()
        releasing.join()
    assert set(seen) == set(known)


def test_leftovers_do_not_block_a_release_and_the_users_files_stay(released):
    """A picture that was cut off, the folder of such a release, and names like a checkpoint's."""
    replaced = set(verified(released)) - {checkpoint.MANIFEST}
    own = {"weights-mybackup.tar", "weights-0123456789ab.index", ".unfinished-picture.png"}
    for name in own:
        with open(os.path.join(released, name), "w") as stream:
            stream.write("the user's")
    os.mkdir(os.path.join(released, ".unfinished-folder"))
    release(released, seed=1)
    assert refusal(released) is None and own < set(os.listdir(released))
    assert not (replaced | {".unfinished-folder"}) & set(os.listdir(released))


def test_a_file_that_the_manifest_does_not_list_changes_no_prediction(released):
    """As a sync tool leaves them, or somebody who copies another checkpoint there."""
    before = prediction(released, large_batch=True)
    index, = [name for name in os.listdir(released) if name.endswith(".index")]
    for ending in ".4.index", ".4.meta", ".large 2.meta", ".2.json":
        with open(os.path.join(released, index.replace(".index", ending)), "w") as stream:
            stream.write("another's")
    assert prediction(released, large_batch=True) == before


def keep_releasing(folder, seed, barrier, rounds):
    """Release the network of a seed at the same moments as another process does another's."""
    for _ in range(rounds):
        barrier.wait(120)
        release(folder, seed)
        barrier.wait(120)


def test_two_writers_leave_one_of_their_networks_whole(tmp_path):
    known, rounds, folder = [], 30 if FULL else 5, str(tmp_path / "both")
    barrier = CONTEXT.Barrier(3)
    for seed in 0, 1:
        release(folder, seed)
        known.append(prediction(folder))
    writers = [CONTEXT.Process(target=keep_releasing, args=(folder, seed, barrier, rounds))
               for seed in (0, 1)]
    for writer in writers:
        writer.start()
    for _ in range(rounds):
        barrier.wait(120)
        barrier.wait(120)
        assert prediction(folder) in known
        assert len(os.listdir(folder)) == 7
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0


@pytest.mark.parametrize("name", ["replace", "remove"])
def test_a_file_that_is_open_for_a_moment_does_not_fail_a_release(released, monkeypatch, name):
    """Windows refuses to replace or to remove it until its reader closes it."""
    change, refusals = getattr(os, name), []

    def refuse_twice(*paths):
        if refusals.count(paths) < 2:
            refusals.append(paths)
            raise PermissionError(13, "Permission denied")
        return change(*paths)

    monkeypatch.setattr(os, name, refuse_twice)
    release(released, seed=1)
    assert len(refusals) >= 4 and len(os.listdir(released)) == 7 and refusal(released) is None


def test_a_file_that_stays_open_leaves_the_old_release(released, monkeypatch):
    def refuse(*paths):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint, "PATIENCE", 0)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(checkpoint.CheckpointError, match="Permission denied.*untouched"):
        release(released, seed=1)
    assert refusal(released) is None and len(os.listdir(released)) == 7


@pytest.mark.parametrize("error, problem", [
    (OSError(24, "Too many open files"), "unreadable"), (ValueError("other tensors"), "foreign"),
    (tf.errors.ResourceExhaustedError(None, None, "Too many open files"), "unreadable"),
    (tf.errors.NotFoundError(None, None, "Key w not found in checkpoint"), "foreign")])
def test_only_other_tensors_make_a_checkpoint_foreign(released, error, problem):
    def use(prefix):
        raise error
    with pytest.raises(checkpoint.CheckpointError) as refused:
        checkpoint.load(released, use, maker="a training")
    assert refused.value.problem == problem and "training" not in str(refused.value)


def test_what_restores_a_damaged_checkpoint(tmp_path):
    """The released weights are in git; others are trained again, but never over other networks'."""
    def refused(folder, expected=()):
        with pytest.raises(checkpoint.CheckpointError) as error:
            checkpoint.load(folder, None, expected, maker="python -m a.training", release=folder)
        return error.value.problem, str(error.value)

    problem, text = refused(str(tmp_path))
    assert problem == "missing" and text.endswith("git -C %s checkout checkpoints" % quoted(ROOT))
    problem, text = refused(os.path.join(ROOT, "checkpoints", "fashion"), (".large.meta",))
    assert problem == "foreign" and "training" not in text and "git" not in text  # exercise 3's
