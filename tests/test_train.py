"""Training learns, resumes bit for bit, and loses nothing when it fails."""
import functools
import os
import random
import re
import shutil
import signal
import sys
import time

import numpy as np
import pytest
from helpers import (FULL, TRAIN, assert_same_bits, generated_images, keep_states, run, small_run,
                     state, states, variables)

from ex03_cifar.classifier import Classifier, softmax
from ex03_cifar.train import main, probabilities_to_learn, taught_probabilities
from support import checkpoint
from support.console import UserError
from support.run_state import RunState
from support.summaries import open_summaries, write_scalars
from support.tf1 import fastest, tf


def epoch_lines(text):
    return re.findall(r"epoch +\d+  training loss.*%", text)


@pytest.fixture(scope="module")
def undisturbed(small_data, tmp_path_factory):
    """The folder of a small run, with its last states, what it printed, and its seconds."""
    folder = str(tmp_path_factory.mktemp("undisturbed"))
    run(TRAIN, ["--help"])  # starts the fork server
    began = time.time()
    code, text = run(TRAIN, small_run(small_data, folder), prepare=keep_states)
    assert code == 0, text
    return folder, text, time.time() - began


@pytest.fixture
def interrupted(undisturbed, tmp_path):
    """A copy of its folder: a run interrupted after step 8 of 8, with the states of 7 and 8."""
    return shutil.copytree(undisturbed[0], str(tmp_path / "interrupted"))


def test_it_learns_500_images_and_a_new_process_restores_the_same_logits(small_data, tmp_path):
    folder = str(tmp_path)
    code, text = run(TRAIN, small_run(small_data, folder, (8, 16, 16), epochs=100, validation=0,
                                      save_every=600))
    assert code == 0, text
    accuracy = float(re.findall(r"training accuracy ([\d.]+) %", text)[-1])
    assert accuracy > 97, text

    images, labels = generated_images(500, seed=2)
    restored = Classifier(folder, exact=True).view_logits(images)
    assert np.mean(restored.argmax(axis=1) == labels) > 0.95

    # The logits of the training session itself, before anything was saved, are the same bits.
    from ex03_cifar import graph as training
    from ex03_cifar.recipes import Recipe
    with tf.Graph().as_default() as graph:
        model = training.build(Recipe(widths=(8, 16, 16)), 1, np.zeros((2, 2, 3, 24), np.float32))
        with tf.Session(graph=graph) as session:
            session.run(model.initialise)
            values = variables(folder)
            for variable in model.released:
                variable.load(values[variable.op.name], session)
            logits = session.run(model.logits, {model.images: images})
    assert logits.tobytes() == restored.tobytes()


def test_it_learns_in_bfloat16_and_in_parts(small_data, tmp_path):
    epochs = 25 if fastest("bfloat16") == "bfloat16" else 50  # emulated: rounded more often
    code, text = run(TRAIN, small_run(small_data, str(tmp_path), epochs=epochs, validation=0,
                                      precision="bfloat16", save_every=600))
    assert code == 0, text
    assert float(re.findall(r"training accuracy ([\d.]+) %", text)[-1]) > 90, text


def test_what_is_learnt_are_smoothed_labels_and_by_their_weight_the_teachers():
    from ex03_cifar.recipes import Recipe
    recipe = Recipe(label_smoothing=0.2, distillation=0.75)
    labels = np.array([3, 0], np.int32)
    targets = probabilities_to_learn(labels, recipe)
    np.testing.assert_allclose(targets[0], [0.02] * 3 + [0.82] + [0.02] * 6, rtol=1e-6)
    taught = np.full((2, 10), 0.1, np.float32)
    np.testing.assert_allclose(probabilities_to_learn(labels, recipe, taught),
                               0.25 * targets + 0.75 * taught, rtol=1e-6)


def test_a_run_begins_with_given_weights_and_its_teachers_are_asked_once(
        small_data, undisturbed, tmp_path):
    given, folder = undisturbed[0], str(tmp_path / "taught")
    tiny = dict.fromkeys(("learning_rate", "bias_learning_rate", "head_learning_rate"), 1e-9)
    code, text = run(TRAIN, small_run(small_data, folder, epochs=1, init=given, teachers=given,
                                      **tiny))
    assert code == 0 and "The teachers look at 400 images." in text, text
    kernels = [checkpoint.load(path, lambda prefix: tf.train.load_checkpoint(prefix).get_tensor(
        "network/block3/conv2/kernel")) for path in (folder, given)]
    np.testing.assert_allclose(*kernels, rtol=0.01)  # Muon keeps their norm, to rounding
    before = Classifier(given, exact=True)
    images = generated_images(20, seed=6)[0]
    both = [before.view_logits(views) for views in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(taught_probabilities([given, given], images),
                               softmax(np.mean(both, axis=0)), atol=0.01)


def test_weights_of_another_shape_to_begin_with_are_refused(small_data, weights, tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="%s cannot be used" % weights):
        main(small_run(small_data, str(tmp_path), (8, 8, 8), init=weights))


def test_two_runs_with_one_seed_print_and_save_the_same(small_data, undisturbed, tmp_path):
    reference, folder = undisturbed[0], str(tmp_path)
    code, text = run(TRAIN, small_run(small_data, folder), prepare=keep_states)
    assert epoch_lines(text) == epoch_lines(undisturbed[1]) and len(epoch_lines(text)) == 3
    assert_same_bits(variables(folder), variables(reference))
    assert_same_bits(variables(state(folder, 8)), variables(state(reference, 8)))


def test_a_full_disk_keeps_the_state_before_it(small_data, interrupted):
    """A limit on the size of files stands in for the disk: the second save no longer fits."""
    shutil.rmtree(state(interrupted, 8))
    before, released = variables(state(interrupted, 7)), variables(interrupted)
    for limit in (5000, 60000):
        code, text = run(TRAIN, small_run(small_data, interrupted), limits={"FSIZE": limit})
        assert code == 1 and "cannot be written to" in text, text
        assert "Traceback" not in text and "Graph execution error" not in text
        assert states(interrupted) == ["step-00000007"]
        assert not [name for _, _, names in os.walk(interrupted) for name in names
                    if "unfinished" in name or "tempstate" in name]
        assert_same_bits(variables(state(interrupted, 7)), before)
        assert_same_bits(variables(interrupted), released)
    assert run(TRAIN, small_run(small_data, interrupted))[0] == 0
    assert_same_bits(variables(interrupted), released)


def test_a_folder_that_cannot_be_written_is_refused(small_data, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (str(tmp_path / "file" / "folder"), "/proc/checkpoints"):
        with pytest.raises(UserError, match="cannot be written to %s" % folder):
            main(small_run(small_data, folder, output_dir=str(tmp_path)))


def test_a_diverged_training_ends_and_keeps_the_finite_state(small_data, tmp_path):
    """The step that such a learning rate takes is finite; the one after it starts from there."""
    folder = str(tmp_path)
    with pytest.raises(UserError, match="not finite after step 2 .* --fresh and a smaller --learn"):
        main(small_run(small_data, folder, learning_rate="1e30"))
    assert states(folder) == ["step-00000001"]
    for value in variables(state(folder, 1)).values():
        assert np.isfinite(value).all()
    assert not os.path.exists(os.path.join(folder, "SHA256SUMS"))  # nothing was released


def test_curves_that_cannot_be_drawn_do_not_cost_the_weights(small_data, interrupted):
    os.remove(os.path.join(interrupted, "SHA256SUMS"))
    os.remove(os.path.join(interrupted, "ex03_training.png"))
    os.mkdir(os.path.join(interrupted, "ex03_training.png"))
    with pytest.raises(UserError, match="ex03_training.png cannot be written"):
        main(small_run(small_data, interrupted))
    assert variables(interrupted) and states(interrupted) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.15 reports no full disk")
def test_a_full_disk_costs_tensorboard_and_not_the_training(capsys):
    writer = tf.io.TFRecordWriter("/dev/full")
    for step in 1, 2:
        writer = write_scalars(writer, {"loss": 1}, step)
        assert writer is None
    assert capsys.readouterr().err == (
        "error: nothing more is written for TensorBoard: No space left on device.\n")


def test_a_log_folder_that_cannot_be_written_is_refused():
    with pytest.raises(UserError, match="--logdir /proc/logs cannot be written"):
        open_summaries("/proc/logs", {}, tf.Graph())


def test_tensorboard_gets_the_scalars_and_the_graph_of_each_run_in_a_folder_of_its_own(tmp_path):
    tags, graphs, runs = set(), 0, [{}, {"log": "another run's"}]
    for notes, losses in zip(runs + runs[:1], ([3, 2], [5], [1])):  # the first is resumed
        with tf.Graph().as_default() as graph:
            tf.constant(1)
        writer = open_summaries(str(tmp_path), notes, graph)
        for step, loss in enumerate(losses):
            writer = write_scalars(writer, {"loss": loss, "accuracy": 1}, step)
    assert sorted(os.listdir(str(tmp_path))) == sorted(notes["log"] for notes in runs)
    for path in (tmp_path / runs[0]["log"]).glob("events.out.tfevents.*"):
        for event in tf.train.summary_iterator(str(path)):
            tags.update((value.tag, value.simple_value) for value in event.summary.value)
            graphs += bool(event.graph_def)
    assert tags == {("loss", 3), ("loss", 2), ("loss", 1), ("accuracy", 1)} and graphs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_interrupted_at_random_moments_says_what_happened_and_ends_in_the_same_bits(
        small_data, undisturbed, tmp_path, number):
    rng, folder = random.Random(int(number)), str(tmp_path / "run")
    for _ in range(8 if FULL else 3):
        code, text = run(TRAIN, small_run(small_data, folder), number=number,
                         seconds=rng.uniform(0, undisturbed[2]))
        assert "Traceback" not in text
        assert code in (0, 130, 128 + number) and (code or "Saved the weights" in text), text
        assert "Interrupted after step" not in text or states(folder)
        if "Saved the weights" in text:  # and then its curves are drawn
            assert os.path.exists(os.path.join(folder, "SHA256SUMS")) and not states(folder)
            shutil.rmtree(folder)
    assert run(TRAIN, small_run(small_data, folder))[0] == 0
    assert_same_bits(variables(folder), variables(undisturbed[0]))


def test_ctrl_c_after_the_last_epoch_leaves_a_finished_run(small_data, undisturbed, tmp_path):
    """Its state is saved then, and its weights are about to be released, or are."""
    rng, folder = random.Random(0), str(tmp_path / "run")
    for moment in range(4 if FULL else 2):
        code, text = run(TRAIN, small_run(small_data, folder, fresh=True), number=signal.SIGINT,
                         after="epoch  3", seconds=rng.uniform(0, 0.7) if moment else 0)
        assert code in (0, 130) and "Saved the weights" in text
        assert "Traceback" not in text and "Interrupted" not in text
        assert states(folder) == []
        assert_same_bits(variables(folder), variables(undisturbed[0]))


def test_a_run_killed_at_random_moments_ends_in_the_same_bits(small_data, undisturbed, tmp_path):
    reference, _, seconds = undisturbed
    folder, rng, kills = str(tmp_path / "killed"), random.Random(0), 0
    while kills < (8 if FULL else 3):
        began = time.time()
        code, text = run(TRAIN, small_run(small_data, folder), number=signal.SIGKILL,
                         seconds=rng.uniform(0.2, 1.0) * seconds)
        if not os.path.exists(os.path.join(folder, "SHA256SUMS")):
            assert code == -signal.SIGKILL, text
            kills += 1
        else:  # it was through before its moment came: kill a new one
            assert_same_bits(variables(folder), variables(reference))
            shutil.rmtree(folder)
            seconds = min(seconds, time.time() - began)
    code, text = run(TRAIN, small_run(small_data, folder), prepare=keep_states)
    assert code == 0, text
    assert_same_bits(variables(folder), variables(reference))
    # Optimizer slots, moving averages and what it remembers of the images.
    assert_same_bits(variables(state(folder, 8)), variables(state(reference, 8)))
    assert not [name for name in os.listdir(folder) if name.startswith(".unfinished")]


def die_after(step):
    """Let this process be killed once it has saved its state after a step."""
    save = RunState.save

    def save_and_die(self, session, saver, saved):
        save(self, session, saver, saved)
        if saved.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
    RunState.save = save_and_die


def test_a_run_killed_where_its_images_become_larger_ends_in_the_same_bits_in_bfloat16(
        small_data, tmp_path):
    """Steps 7 and 13 of 16: what is computed next has another shape, and is compiled anew."""
    folders = [str(tmp_path / name) for name in ("undisturbed", "killed")]
    undisturbed, killed = [small_run(small_data, folder, images=600, validation=200, batch_size=50,
                                     precision="bfloat16") for folder in folders]
    assert run(TRAIN, undisturbed)[0] == 0
    for step in 7, 13:
        code, _ = run(TRAIN, killed, prepare=functools.partial(die_after, step))
        assert code == -signal.SIGKILL and states(folders[1])[-1] == "step-%08d" % step
    code, text = run(TRAIN, killed)
    assert code == 0 and "Resuming from step 13 of 16" in text, text
    assert_same_bits(*map(variables, folders))
