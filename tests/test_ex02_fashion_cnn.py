"""What the README promises of ex02_fashion_cnn.py, on a small data set in the real format."""
import json
import os
import pathlib
import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
from helpers import FULL, ROOT, run, write_idx
from PIL import Image

import ex02_fashion_cnn as ex02
from support import checkpoint, idx
from support.console import UserError
from support.run_state import Saved

SMALL = ex02.Recipe(filters=(4, 8, 8), precision="float32")
PICTURES = ["ex02_confusion.png", "ex02_predictions.png", "ex02_training.png",
            "fr_ex02_confusion.png", "fr_ex02_predictions.png"]

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.layers.*")  # "deprecated", which is the point


# ---- Helpers ----

def training(small_fashion, folder, *more):
    """Return the command line of a short training that writes into a folder."""
    return ["--data-dir", small_fashion, "--checkpoint-dir", folder / "checkpoint", "--output-dir",
            folder / "images", "--warp", 1, "--epochs", 6, "--seed", 3] + list(more)


def ex02_run(arguments, folder):
    """Run the exercise; return (exit code, what it printed)."""
    return run("ex02_fashion_cnn", [str(word) for word in arguments])


def stop_after_epoch(epoch, number, arguments, folder):
    """Start the exercise, send it a signal after an epoch; return (exit code, what it printed)."""
    return run("ex02_fashion_cnn", [str(word) for word in arguments], number=number,
               after="epoch %2d:" % epoch)


def contents(folder):
    """Return the files of a checkpoint, a dict of the ending of their names to bytes."""
    return {path.name.partition(".")[2]: path.read_bytes()
            for path in (folder / "checkpoint").glob("weights-*")}


@pytest.fixture(scope="module")
def trained(small_fashion, tmp_path_factory):
    """A short training that nothing disturbed: (folder, what it printed)."""
    folder = tmp_path_factory.mktemp("trained")
    code, text = ex02_run(training(small_fashion, folder, "--logdir", folder / "log"), folder)
    assert code == 0, text
    return folder, text


@pytest.fixture(scope="module")
def loaded(trained):
    """The trained network: (model, session)."""
    model, session, _ = ex02.load_network(str(trained[0] / "checkpoint"))
    with session:
        yield model, session


def noise(count, seed):
    return np.random.RandomState(seed).randint(0, 256, (count, 28, 28)).astype(np.uint8)


# ---- The network ----

@pytest.mark.parametrize("build", [
    ex02.inference_graph, lambda recipe: ex02.training_graph(recipe, steps=20)])
def test_the_graph_has_the_prescribed_layers_in_the_prescribed_order(build):
    layers = [operation for operation in build(ex02.Recipe()).graph.get_operations()
              if operation.name.startswith("network") and operation.type in (
                  "Conv2D", "MaxPool", "MatMul")]
    assert [layer.type for layer in layers] == [
        "Conv2D", "MaxPool", "Conv2D", "MaxPool", "Conv2D", "MatMul", "MatMul"]
    assert layers[-1].outputs[0].shape[1] == 10


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_computed_in_bfloat16_has_float32_variables(precision):
    recipe = replace(SMALL, precision=precision)
    operations = ex02.training_graph(recipe, 20).graph.get_operations()
    kernels = [operation.inputs[1].dtype.name for operation in operations
               if operation.type in ("Conv2D", "MatMul") and operation.name.startswith("network/")]
    assert kernels == [precision] * 4 + ["float32"]  # the logits are not rounded
    assert not [operation.name for operation in operations if operation.type == "VarHandleOp"
                and operation.get_attr("dtype").name not in ("float32", "int64")]


def test_kernels_are_stored_in_half_precision(trained):
    reader = checkpoint.load(str(trained[0] / "checkpoint"), ex02.tf.train.load_checkpoint)
    stored = {name: dtype.name for name, dtype in reader.get_variable_to_dtype_map().items()}
    assert {name for name, dtype in stored.items() if dtype == "float16"} == {
        "network/%s/kernel" % layer for layer in ("conv1", "conv2", "conv3", "dense", "output")}
    assert set(stored.values()) == {"float16", "float32"}


def test_only_doubtful_images_get_the_shifted_views_as_well(loaded, monkeypatch):
    model, session = loaded
    images = noise(40, seed=6)

    def mean(*places):  # over the shifted views and these flipped
        views = [np.pad(images, ((0, 0), (1, 1), (1, 1)), "constant")[:, y:y + 28, x:x + 28]
                 for y, x in places]
        return np.mean([ex02.probabilities(session, model, view[:, :, ::step], one_view=True)
                        for view in views for step in (1, -1)], axis=0)
    first, more = mean((1, 1)), mean((0, 1), (2, 1), (1, 0), (1, 2))
    monkeypatch.setattr(ex02, "TTA_THRESHOLD", np.median(first.max(axis=1)))
    doubtful = first.max(axis=1) < ex02.TTA_THRESHOLD
    assert doubtful.sum() == 20
    np.testing.assert_allclose(ex02.probabilities(session, model, images), atol=1e-6, desired=(
        np.where(doubtful[:, None], (first + more) / 2, first)))


# ---- Augmentation ----

@pytest.mark.parametrize("warp", [0.0, 1.0])
def test_an_epoch_depends_on_seed_and_number_alone(warp):
    images, labels = noise(300, seed=0), (np.arange(300) % 10).astype(np.uint8)
    before = images.copy()

    def shown(seed, epoch):
        return ex02.epoch_data(images, labels, ex02.Recipe(seed=seed, warp=warp), epoch)
    first, _, again = shown(4, 7), shown(4, 8), shown(4, 7)
    assert all(np.array_equal(one, two) for one, two in zip(first, again))
    assert not np.array_equal(first[0], shown(5, 7)[0])
    assert np.array_equal(images, before), "augmentation changed the data set itself"
    assert first[0].dtype == np.uint8 and sorted(first[1]) == sorted(labels)


@pytest.mark.parametrize("prob", [0, 0.3, 1])
def test_an_image_loses_one_rectangle_with_this_probability(prob):
    images = noise(2000, seed=1)
    erased = ex02.erase(images.copy(), prob, (3, 12), np.random.RandomState(0))
    changed = np.flatnonzero((erased != images).any(axis=(1, 2)))
    assert len(changed) == pytest.approx(2000 * prob, abs=80)
    for index in changed:
        rows, columns = np.nonzero(erased[index] != images[index])
        rectangle = erased[index, rows.min():rows.max() + 1, columns.min():columns.max() + 1]
        assert max(rectangle.shape) <= 12 and len(np.unique(rectangle)) == 1


def test_most_images_are_warped_and_none_much():
    images = np.zeros((1000, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = 200
    warped = ex02.warp(images.copy(), 1, np.random.RandomState(3))
    changed = (warped != images).any(axis=(1, 2))
    assert 740 < changed.sum() < 860
    bright = warped[changed].astype(float)
    area = bright.sum(axis=(1, 2)) / 200
    assert 144 * 0.84 < area.min() < 130 and 158 < area.max() < 144 * 1.19  # e ** (2 * 0.08)
    centre = (bright * np.arange(28)).sum(axis=(1, 2)) / bright.sum(axis=(1, 2))
    assert 0.9 < np.abs(centre - 13.5).max() < 1.25  # a pixel, scaled and sheared
    assert np.array_equal(ex02.warp(images.copy(), 0, np.random.RandomState(3)), images)


def test_images_are_rotated_and_shifted_as_far_as_it_says():
    class Greatest:
        """Draws the greatest amount of one kind, and nothing of the others."""

        def __init__(self, kind):
            self.uniform = lambda low, high, shape: np.eye(6)[kind][:, None] * np.full(shape, high)

        random_sample = np.zeros

    images = noise(40, seed=0)
    rotated = ex02.warp(images.copy(), 15, Greatest(0)).astype(int)  # by 90 degrees
    np.testing.assert_allclose(rotated, np.rot90(images, -1, (1, 2)), atol=1)
    right, down = [ex02.warp(images.copy(), 2, Greatest(kind)) for kind in (4, 5)]
    assert np.array_equal(right[:, :, :-2], images[:, :, 2:])
    assert np.array_equal(down[:, :-2], images[:, 2:])


def test_two_epochs_show_every_image_both_ways():
    images = noise(50, seed=0)
    even, odd = ex02.flip(images, seed=1, epoch=0), ex02.flip(images, seed=1, epoch=1)
    assert np.array_equal(even, odd[:, :, ::-1])
    assert 0 < sum(np.array_equal(*pair) for pair in zip(even, images)) < 50


# ---- Training ----

def test_training_prints_saves_and_draws(trained):
    folder, text = trained
    assert "epoch  6: loss" in text and "Ankle boot" in text
    assert re.search(r"Test accuracy: \d+\.\d\d %", text)
    assert text.endswith("--checkpoint-dir %s --predict IMAGE\n" % (folder / "checkpoint"))
    assert sorted(os.listdir(str(folder / "images"))) == PICTURES
    assert set(contents(folder)) == {"index", "data-00000-of-00001", "json", "meta"}
    assert list((folder / "checkpoint" / "state").glob("step-*")) == []
    assert len(list(folder.glob("log/*/events.out.tfevents.*"))) == 1


def test_a_run_that_was_killed_and_interrupted_ends_in_the_same_weights(
        small_fashion, trained, tmp_path):
    arguments = training(small_fashion, tmp_path)
    assert stop_after_epoch(1, signal.SIGKILL, arguments, tmp_path)[0] == -signal.SIGKILL
    code, text = stop_after_epoch(3, signal.SIGINT, arguments + ["--save-every", 0], tmp_path)
    assert code == 130 and "Traceback" not in text and "without --fresh, resumes" in text
    code, text = ex02_run(arguments[:-1] + [4], tmp_path)
    assert code == 2 and "seed 3, now 4" in text and "--fresh" in text
    code, text = ex02_run(arguments, tmp_path)
    assert code == 0 and "Resuming from step" in text, text
    assert text.splitlines()[-3] == trained[1].splitlines()[-3]
    assert contents(tmp_path) == contents(trained[0])
    assert list((tmp_path / "checkpoint" / "state").glob("step-*")) == []


@pytest.mark.parametrize("weight", [0, 0.4, 1])
def test_teachers_probabilities_are_this_part_of_what_is_learnt(trained, loaded, weight):
    teacher = ex02.frozen_network(str(trained[0] / "checkpoint"), "float32")
    model = ex02.training_graph(replace(SMALL, label_smoothing=0.2, distillation=weight), 20,
                                [teacher, teacher])
    names = [variable.name for variable in model.graph.get_collection("variables")]
    assert not [name for name in names if "teacher" in name], "teachers would be trained, or saved"
    images, labels = noise(8, seed=2), np.arange(8)
    with ex02.tf.Session(graph=model.graph) as session:
        session.run(model.initialise)
        loss, student = session.run([model.loss, model.probabilities],
                                    {model.images: images, model.labels: labels})
    taught = ex02.probabilities(*reversed(loaded), images=images, one_view=True)
    target = (1 - weight) * (0.8 * np.eye(10)[labels] + 0.02) + weight * taught
    assert loss == pytest.approx(-(target * np.log(student)).sum(axis=1).mean(), rel=1e-4)


def test_a_run_resumes_with_its_own_teachers_alone(small_fashion, trained, tmp_path):
    """Named in any order; one that has other weights by now is named, too."""
    one, two, other = [shutil.copytree(str(trained[0] / "checkpoint"), str(tmp_path / name))
                       for name in ("one", "two", "other/two")]
    model, session, notes = ex02.load_network(other)
    with session:
        checkpoint.save_weights(
            other, checkpoint.meta_graph(ex02.inference_graph(ex02.shape(notes)).graph),
            checkpoint.values_of(session, model.graph.get_collection("variables")),
            {".json": json.dumps(dict(notes, again=True)).encode()})
    arguments = training(small_fashion, tmp_path, "--filters", 4, 8, 8, "--teachers")
    code, text = stop_after_epoch(1, signal.SIGINT, arguments + [one, two], tmp_path)
    assert code == 130, text
    for teachers, words in (([], "teachers"), (["--teachers", one, other], "now ['one (weights-")):
        code, text = ex02_run(arguments[:-1] + teachers, tmp_path)
        assert code == 2 and words in text and "--fresh" in text, text
    code, text = ex02_run(arguments + [two, one], tmp_path)
    assert code == 0 and "Resuming from step" in text, text


def test_a_run_begins_with_given_weights_of_its_shape(small_fashion, trained, tmp_path):
    given = str(trained[0] / "checkpoint")
    arguments = training(small_fashion, tmp_path, "--epochs", 1, "--learning-rate", 1e-9,
                         "--sgd-learning-rate", 1e-9, "--init", given)
    code, text = ex02_run(arguments, tmp_path)
    assert code == 0, text
    kernels = [checkpoint.load(folder, lambda prefix: ex02.tf.train.load_checkpoint(
        prefix).get_tensor("network/conv2/kernel")) for folder in (
            str(tmp_path / "checkpoint"), given)]
    np.testing.assert_allclose(*kernels, rtol=0.01)  # Muon keeps their norm, to rounding
    code, text = ex02_run(arguments + ["--filters", 4, 8, 8], tmp_path)
    assert code == 2 and "cannot be used" in text and given in text and "Traceback" not in text


def test_weights_that_are_not_finite_after_a_finite_loss_stop_the_run():
    model = ex02.training_graph(replace(SMALL, weight_decay=1.0, sgd_learning_rate=1e30), 1)
    with ex02.tf.Session(graph=model.graph) as session:
        session.run(model.initialise)
        kernel, = [variable for variable in model.graph.get_collection("variables")
                   if variable.name == "network/output/kernel:0"]
        kernel.load(np.full(kernel.shape, 1e9), session)  # equal logits, but for the decay
        saved, batch = Saved(0, {"sums": [0, 0]}, {}), (noise(8, seed=0), np.arange(8))
        with pytest.raises(UserError, match=r"diverged: .*after step 1 \(loss \d.*--fresh"):
            ex02.train_step(session, model, saved, batch)


@pytest.mark.parametrize("more, sentence", [
    (["--batch-size", 769], "pictures to train on"),
    (["--validation", 767], "--validation 767: that leaves 1 pictures to train on"),
    (["--output-dir", "/dev/null"], "nothing can be written to /dev/null")], ids=str)
def test_what_cannot_work_is_a_sentence_before_training(small_fashion, tmp_path, more, sentence):
    code, text = ex02_run(training(small_fashion, tmp_path, *more), tmp_path)
    assert code == 1 and sentence in text and "epoch" not in text and "Traceback" not in text


def test_a_release_is_the_run_with_its_history(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ex02, "RELEASE", str(tmp_path / "checkpoint"))
    ex02.main(["--release", "--checkpoint-dir", str(trained[0] / "checkpoint")])
    assert "--evaluate --output-dir images" in capsys.readouterr().out
    assert contents(tmp_path) == contents(trained[0])
    assert len(json.loads(contents(tmp_path)["json"].decode())["history"]) == 6


# ---- Inference ----

def real_data():
    """Return the Keras home with the real data set, or skip the test."""
    found = idx.find_folder(idx.keras_home(), "fashion-mnist", idx.FILES)
    return idx.keras_home() if found else pytest.skip("no Fashion-MNIST here")


def test_the_released_weights_reach_the_accuracy_in_the_readme():
    readme = pathlib.Path(ROOT, "README.md").read_text(encoding="utf-8")
    promised = float(re.search(r"cnn\.py --evaluate\s+#\D*(\d\d\.\d\d) %", readme).group(1))
    images, labels = [whole[:10000 if FULL else 1000] for whole in ex02.load_data(real_data())[1]]
    model, session, notes = ex02.load_network(ex02.RELEASE)
    with session:
        predicted = ex02.probabilities(session, model, images).argmax(axis=1)
    # Another machine rounds a borderline picture otherwise; a thousand are a sample of the whole.
    assert abs(100 * np.mean(predicted == labels) - promised) <= (0.02 if FULL else 2)
    assert len(notes["history"]) == 50


def test_photographs_of_garments_are_recognised(tmp_path):
    """Test pictures, negated, enlarged and off-centre on white, as JPEG."""
    images, labels = [whole[:60] for whole in ex02.load_data(real_data())[1]]
    rng = np.random.RandomState(0)
    for number, image in enumerate(images):
        photo = Image.new("L", (500, 400), 255)
        photo.paste(Image.fromarray(255 - image).resize((200, 200), Image.BICUBIC),
                    (int(rng.randint(300)), int(rng.randint(200))))
        photo.save(str(tmp_path / ("%02d.jpg" % number)), quality=80)
    paths = sorted(str(path) for path in tmp_path.glob("*.jpg"))
    code, text = ex02_run(["--predict", str(tmp_path / "absent.jpg")] + paths, tmp_path)
    lines = text.splitlines()
    assert code == 1 and "absent.jpg does not exist" in lines[0] and len(lines) == 61
    found = [re.match(r"%s: (.+) \d+\.\d %%$" % re.escape(path), line).group(1)
             for path, line in zip(paths, lines[1:])]
    assert np.mean([ex02.CLASS_NAMES[label] == name for label, name in zip(labels, found)]) > 0.9


# ---- What goes wrong ----

@pytest.fixture
def copy(trained, tmp_path):
    """A folder with a checkpoint that a test may damage."""
    return shutil.copytree(str(trained[0] / "checkpoint"), str(tmp_path / "check point"))


def test_advice_never_destroys_weights(copy, monkeypatch):
    with pytest.raises(checkpoint.CheckpointError) as refused:
        ex02.load_network(os.path.join(ROOT, "checkpoints", "cifar10"))
    assert refused.value.problem in ("foreign", "damaged") and "python " not in str(refused.value)
    weights, = [name for name in os.listdir(copy) if name.endswith(".index")]
    os.truncate(os.path.join(copy, weights), 5)
    with pytest.raises(checkpoint.CheckpointError, match="is damaged") as refused:
        ex02.load_network(copy)
    assert "python ex02_fashion_cnn.py --checkpoint-dir '%s'" % copy in str(refused.value)


def test_notes_of_something_else_are_foreign(loaded, tmp_path):
    model, session = loaded
    with model.graph.as_default():
        saver = ex02.tf.train.Saver()
    checkpoint.save(str(tmp_path), session, saver, {
        ".json": b'{"history": [], "settings": {"filters": 3}}'})
    with pytest.raises(checkpoint.CheckpointError) as refused:
        ex02.load_network(str(tmp_path))
    assert refused.value.problem == "foreign", str(refused.value)


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"])
@pytest.mark.parametrize("damage", [
    os.remove, lambda path: os.truncate(path, 50), lambda path: path.write_bytes(b"<html>"),
    lambda path: write_idx(path, np.full((768,), 200, np.uint8))],
    ids=["removed", "truncated", "not gzip", "other labels"])
def test_a_damaged_data_set_is_a_sentence(small_fashion, tmp_path, name, damage):
    shutil.copytree(str(small_fashion), str(tmp_path / "data"))
    damage(tmp_path / "data" / name)
    with pytest.raises(UserError, match=str(tmp_path / "data" / name)):
        ex02.load_data(str(tmp_path / "data"))


def test_a_tensorflow_that_is_missing_is_not_a_missing_data_set(tmp_path, monkeypatch):
    def download():
        raise UserError("TensorFlow cannot be imported")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(UserError, match="^TensorFlow cannot be imported$"):
        idx.load(None, "fashion-mnist", download)
    with pytest.raises(UserError, match="train-images-idx3-ubyte.gz"):
        idx.load(str(tmp_path), "fashion-mnist", download)
