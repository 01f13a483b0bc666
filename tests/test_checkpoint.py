"""A release is whole or refused, and changes in one step."""
import os
import random
import shutil
import threading

import numpy as np
import pytest
from conftest import ROOT, run as run_command
from forked import run

from ex03_cifar import checkpoint
from ex03_cifar.classifier import Classifier, temperature_variable
from ex03_cifar.network import network
from ex03_cifar.tf1 import start_session, tf

POSITIONS = 40  # of a flipped byte and of a cut, in each file


def release(folder, seed, widths=(8, 16, 16), convolutions=2):
    """Release an untrained network."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(seed)
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
        network(images, widths, convolutions, training=False)
        temperature_variable()
        saver = tf.train.Saver()
        with start_session(graph) as session:
            session.run(tf.global_variables_initializer())
            checkpoint.save(folder, session, saver)


def refusal(folder):
    """Return why the checkpoint in `folder` is refused, or None where it answers."""
    try:
        Classifier(folder).session.close()
    except checkpoint.CheckpointError as error:
        return str(error)
    return None


@pytest.fixture
def released(tmp_path):
    folder = str(tmp_path / "release")
    release(folder, seed=0)
    assert refusal(folder) is None
    return folder


def test_a_release_is_listed_for_sha256sum(released):
    done = run_command("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=released)
    assert done.returncode == 0 and done.stdout.count(": OK") == 2
    assert len(os.listdir(released)) == 3


def test_any_flipped_byte_cut_or_missing_file_is_refused(released):
    rng = random.Random(0)
    for name in os.listdir(released):
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


def test_every_refusal_of_evaluate_is_a_sentence_exit_code_2_and_no_answer(
        released, small_data, tmp_path):
    rng = random.Random(1)
    arguments = ["--checkpoint-dir", released, "--data-dir", small_data,
                 "--confusion", str(tmp_path / "confusion.png")]
    for name in os.listdir(released):
        path = os.path.join(released, name)
        with open(path, "rb") as stream:
            whole = stream.read()
        for place in [rng.randrange(len(whole)) for _ in range(3)]:
            with open(path, "wb") as stream:
                stream.write(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
            code, text = run("ex03_cifar.evaluate", arguments, str(tmp_path / "out"))
            assert code == 2 and text.startswith("error: ") and name in text, text
            assert "accuracy" not in text and "python -m ex03_cifar.train" in text
        with open(path, "wb") as stream:
            stream.write(whole)


def test_predict_never_answers_from_a_damaged_release(released, tmp_path):
    picture = os.path.join(ROOT, "images", "avion.jpg")
    name, = [name for name in os.listdir(released) if ".data" in name]
    path = os.path.join(released, name)
    with open(path, "r+b") as stream:
        stream.seek(5000)
        stream.write(bytes([stream.read(1)[0] ^ 1]))
    done = run_command("./predict", "--checkpoint-dir", released, picture)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Erreur: ") and name in done.stderr
    assert "ex03_cifar.train" in done.stderr and "Traceback" not in done.stderr


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    folder = str(tmp_path / "foreign")
    with tf.Graph().as_default() as graph:
        tf.get_variable("dense/kernel", [3, 10])
        saver = tf.train.Saver()
        with start_session(graph) as session:
            session.run(tf.global_variables_initializer())
            checkpoint.save(folder, session, saver)
    assert "not the variables of this network" in refusal(folder)


def test_weights_and_index_of_two_releases_are_no_checkpoint(released, tmp_path):
    other = str(tmp_path / "other")
    release(other, seed=1)
    for ending in (".index", ".data-00000-of-00001"):
        name, = [name for name in os.listdir(released) if name.endswith(ending)]
        swapped, = [name for name in os.listdir(other) if name.endswith(ending)]
        kept = str(tmp_path / "kept")
        shutil.move(os.path.join(released, name), kept)
        shutil.copy(os.path.join(other, swapped), os.path.join(released, name))
        assert "%s is damaged" % os.path.join(released, name) in refusal(released)
        shutil.move(kept, os.path.join(released, name))


def test_a_release_that_cannot_be_finished_leaves_the_one_before(released, monkeypatch):
    before = sorted(os.listdir(released))
    replace = os.replace

    def fail_at_the_seal(source, target):
        if target.endswith(checkpoint.SEAL):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_seal)
    with pytest.raises(checkpoint.CheckpointError, match="No space left on device"):
        release(released, seed=1)
    monkeypatch.undo()
    assert refusal(released) is None
    assert set(before) <= set(os.listdir(released))
    release(released, seed=2)  # and the next one tidies up
    assert len(os.listdir(released)) == 3 and refusal(released) is None


def test_a_reader_during_releases_sees_the_old_or_the_new_network(tmp_path):
    """Two networks are released in turn while they are read: every answer is one of theirs."""
    picture = np.random.RandomState(0).randint(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    sealed = []
    for seed, widths in ((0, (8, 16, 16)), (1, (4, 8, 8))):
        folder = str(tmp_path / ("network%d" % seed))
        release(folder, seed, widths)
        sealed.append((folder, Classifier(folder).probabilities(picture, [1]).tobytes()))
    live = str(tmp_path / "live")
    shutil.copytree(sealed[0][0], live)
    stop = threading.Event()

    def keep_releasing():
        turn = 0
        while not stop.is_set():
            turn = 1 - turn
            names = sorted(os.listdir(sealed[turn][0]), key=lambda name: name == checkpoint.SEAL)
            for name in names:
                shutil.copy(os.path.join(sealed[turn][0], name), os.path.join(live, name + ".new"))
                os.replace(os.path.join(live, name + ".new"), os.path.join(live, name))
            for name in set(os.listdir(live)) - set(names):
                os.remove(os.path.join(live, name))

    releasing = threading.Thread(target=keep_releasing)
    releasing.start()
    try:
        seen = {Classifier(live).probabilities(picture, [1]).tobytes() for _ in range(30)}
    finally:
        stop.set()
        releasing.join()
    assert seen <= {answer for _, answer in sealed}
