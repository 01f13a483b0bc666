"""What the README promises of ex02_fashion_cnn.py: real TensorFlow, the real script, real files.

Short trainings run on a small data set in the real format, drawn into a temporary folder.
"""
import os
import re
import shutil
import signal
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from helpers import FULL, ROOT, interrupt, run_command, run_streams, write_idx

RELEASED = os.path.join(ROOT, "checkpoints", "fashion")
ENDINGS = (".index", ".data-00000-of-00001", ".json")
PICTURES = ["ex02_confusion.png", "ex02_predictions.png", "ex02_training.png"]

import ex02_fashion_cnn as ex02
from support import checkpoint, idx
from support.console import UserError
from support.run_state import RunState


pytestmark = pytest.mark.filterwarnings("ignore:.*tf.layers.*")  # "deprecated", which is the point


# ---------------------------------------------------------------------------- helpers
def run(*arguments):
    """The script's (exit code, stdout, stderr)."""
    return run_streams("ex02_fashion_cnn", [str(argument) for argument in arguments])


def training(small_fashion, folder):
    """The arguments of a short training that writes into folder."""
    return ("--data-dir", small_fashion, "--checkpoint-dir", folder / "checkpoint", "--output-dir", folder / "images",
            "--warp", 1, "--epochs", 6, "--seed", 3)


def stop_after_epoch(epoch, how, arguments):
    """Start the script, send it a signal once it has printed epoch's line: (exit code, all it printed)."""
    with tempfile.TemporaryDirectory() as folder:
        return interrupt("ex02_fashion_cnn", [str(argument) for argument in arguments],
                         os.path.join(folder, "out"), how, after="epoch %2d:" % epoch)


def contents(folder):
    """The sealed files, byte for byte, by what their names end in."""
    return {path.name.partition(".")[2]: path.read_bytes()
            for path in (folder / "checkpoint").iterdir() if path.name.startswith("weights-")}


def sealed(folder, ending):
    return next(folder.glob("weights-*" + ending))


@pytest.fixture(scope="module")
def trained(small_fashion, tmp_path_factory):
    """A short training that nothing disturbed: (folder, stdout)."""
    folder = tmp_path_factory.mktemp("trained")
    code, stdout, stderr = run(*training(small_fashion, folder), "--logdir", folder / "log")
    assert code == 0, stderr
    return folder, stdout


def assert_sentence(code, stderr, expected_code, *words):
    """The program ended with one sentence on stderr that names words, and no traceback."""
    assert code == expected_code, stderr
    assert "Traceback" not in stderr
    last = stderr.strip().splitlines()[-1]
    assert "error: " in last
    for word in words:
        assert word in last


# ---------------------------------------------------------------------------- the network
def layers_before(operation):
    """Types of the layers' operations between the input and operation, nearest first, and all those in its past."""
    kinds = ("Conv2D", "MaxPool", "MatMul")
    chain, past, front = [], set(), [operation]
    while front:
        operation = front.pop(0)  # breadth first: from the output towards the input
        if operation in past:
            continue
        past.add(operation)
        if operation.type in kinds:
            chain.append(operation)
        front.extend(tensor.op for tensor in operation.inputs)
    return chain, past


@pytest.mark.parametrize("kind", ["inference", "training"])
def test_the_graph_has_the_prescribed_layers_in_the_prescribed_order(kind):
    recipe = ex02.RECIPES["default"]
    if kind == "inference":
        model = ex02.inference_graph(recipe)
    else:
        model = ex02.training_graph(recipe, 20)
    chain, past = layers_before(model.probabilities.op)
    chain.reverse()
    assert [operation.type for operation in chain] == [
        "Conv2D", "MaxPool", "Conv2D", "MaxPool", "Conv2D", "MatMul", "MatMul"]
    for earlier, later in zip(chain, chain[1:]):
        assert earlier in layers_before(later)[1], "%s does not feed %s" % (earlier.name, later.name)
    assert model.images.op in past
    assert chain[-1].outputs[0].shape[1] == 10
    if kind == "inference":  # the training graph has gradients as well
        everywhere = [operation.type for operation in model.graph.get_operations()]
        assert [everywhere.count(kind) for kind in ("Conv2D", "MaxPool", "MatMul")] == [3, 2, 2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_computed_in_bfloat16_has_float32_variables(precision):
    recipe = replace(ex02.RECIPES["default"], filters=(4, 8, 8), precision=precision)
    model = ex02.training_graph(recipe, 20)
    kernels = [operation.inputs[1].dtype.name for operation in model.graph.get_operations()
               if operation.type in ("Conv2D", "MatMul") and "gradients" not in operation.name]
    assert kernels == [precision] * 4 + ["float32"]  # the last layer's answer is not rounded
    variables = model.graph.get_collection("variables")
    assert {variable.dtype.base_dtype.name for variable in variables
            if variable.op.name != "global_step"} == {"float32"}


def test_pixels_go_in_as_uint8_and_nothing_else(trained):
    model, session, _ = ex02.load_network(str(trained[0] / "checkpoint"))
    with session:
        assert model.images.dtype == ex02.tf.uint8
        pictures = np.zeros((2, 28, 28), np.uint8)
        assert ex02.probabilities(session, model, pictures).shape == (2, 10)
        for wrong in (pictures / 255.0, pictures.astype(np.float32), pictures[:, :, :27]):
            with pytest.raises(TypeError, match="uint8"):
                ex02.probabilities(session, model, wrong)


def test_a_picture_and_its_mirror_image_get_one_answer(trained):
    model, session, _ = ex02.load_network(str(trained[0] / "checkpoint"))
    pictures = np.random.RandomState(5).randint(0, 256, (8, 28, 28)).astype(np.uint8)
    with session:
        answers = ex02.probabilities(session, model, pictures)
        mirrored = ex02.probabilities(session, model, pictures[:, :, ::-1])
    np.testing.assert_allclose(answers, mirrored, atol=1e-6)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_only_doubtful_pictures_are_looked_at_again_moved_by_a_pixel(trained, monkeypatch):
    model, session, _ = ex02.load_network(str(trained[0] / "checkpoint"))
    pictures = np.random.RandomState(6).randint(0, 256, (40, 28, 28)).astype(np.uint8)
    with session:
        def mean(*places):  # of the picture, moved, and its mirror image
            views = [np.pad(pictures, ((0, 0), (1, 1), (1, 1)))[:, y:y + 28, x:x + 28] for y, x in places]
            return np.mean([ex02.probabilities(session, model, view[:, :, ::step], one_view=True)
                            for view in views for step in (1, -1)], axis=0)
        at_first, again = mean((1, 1)), mean((0, 1), (2, 1), (1, 0), (1, 2))
        monkeypatch.setattr(ex02, "DOUBT", np.median(at_first.max(axis=1)))
        doubtful = at_first.max(axis=1) < ex02.DOUBT
        expected = np.where(doubtful[:, None], (at_first + again) / 2, at_first)
        assert doubtful.sum() == 20
        np.testing.assert_allclose(ex02.probabilities(session, model, pictures), expected, atol=1e-6)


# ---------------------------------------------------------------------------- training
@pytest.mark.parametrize("warp", [0.0, 1.0])
def test_an_epoch_depends_on_seed_and_number_alone(warp):
    images = np.random.RandomState(0).randint(0, 256, (300, 28, 28)).astype(np.uint8)
    labels = (np.arange(300) % 10).astype(np.uint8)
    before = images.copy()
    def shown(seed, epoch):
        return ex02.epoch_data(images, labels, ex02.Recipe(seed=seed, warp=warp), epoch)
    first, _, again = shown(4, 7), shown(4, 8), shown(4, 7)
    assert all(np.array_equal(one, two) for one, two in zip(first, again))
    assert not np.array_equal(first[0], shown(5, 7)[0])
    assert np.array_equal(images, before), "augmentation changed the data set itself"
    assert first[0].dtype == np.uint8 and sorted(first[1]) == sorted(labels)


@pytest.mark.parametrize("probability", [0, 0.3, 1])
def test_this_share_of_the_pictures_loses_one_rectangle(probability):
    images = np.random.RandomState(1).randint(0, 256, (2000, 28, 28)).astype(np.uint8)
    erased = ex02.erase(images.copy(), probability, (3, 12), np.random.RandomState(0))
    changed = np.flatnonzero((erased != images).any(axis=(1, 2)))
    assert len(changed) == pytest.approx(2000 * probability, abs=80)
    for index in changed:
        rows, columns = np.nonzero(erased[index] != images[index])
        rectangle = erased[index, rows.min():rows.max() + 1, columns.min():columns.max() + 1]
        assert max(rectangle.shape) <= 12 and len(np.unique(rectangle)) == 1


def test_most_pictures_are_warped_and_none_much():
    images = np.zeros((1000, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = 200
    warped = ex02.warp(images.copy(), 1, np.random.RandomState(3))
    changed = (warped != images).any(axis=(1, 2))
    assert 740 < changed.sum() < 860
    bright = warped[changed].astype(float)
    area = bright.sum(axis=(1, 2)) / 200
    assert 144 * 0.84 < area.min() < 130 and 158 < area.max() < 144 * 1.19  # e ** (2 * 0.08)
    centre = (bright * np.arange(28)).sum(axis=(1, 2)) / bright.sum(axis=(1, 2))
    assert 0.9 < np.abs(centre - 13.5).max() < 1.25  # a pixel, stretched and slanted
    assert np.array_equal(ex02.warp(images.copy(), 0, np.random.RandomState(3)), images)


class TheMost:
    """Draws the greatest amount of one kind, and nothing of the others."""

    def __init__(self, kind):
        self.kind = kind

    def random_sample(self, count):
        return np.zeros(count)

    def uniform(self, low, high, shape):
        return np.where(np.arange(6)[:, None] == self.kind, high, np.zeros(shape))


def test_pictures_are_turned_and_moved_as_far_as_it_says():
    images = np.random.RandomState(0).randint(0, 256, (40, 28, 28)).astype(np.uint8)
    turned = ex02.warp(images.copy(), 15, TheMost(0)).astype(int)  # by 90 degrees
    np.testing.assert_allclose(turned, np.rot90(images, -1, (1, 2)), atol=1)
    right, down = [ex02.warp(images.copy(), 2, TheMost(kind)) for kind in (4, 5)]
    assert np.array_equal(right[:, :, :-2], images[:, :, 2:])
    assert np.array_equal(down[:, :-2], images[:, 2:])


def test_two_epochs_show_every_picture_both_ways():
    images = np.random.RandomState(0).randint(0, 256, (50, 28, 28)).astype(np.uint8)
    even, odd = ex02.flip(images, seed=1, epoch=0), ex02.flip(images, seed=1, epoch=1)
    assert np.array_equal(even, odd[:, :, ::-1])
    assert 0 < sum(np.array_equal(*pair) for pair in zip(even, images)) < 50


def test_training_prints_saves_and_draws(trained):
    folder, stdout = trained
    assert "epoch  6: loss" in stdout and "Ankle boot" in stdout
    assert re.search(r"Test accuracy: \d+\.\d\d %", stdout)
    assert sorted(os.listdir(str(folder / "images"))) == PICTURES
    names = sorted(os.listdir(str(folder / "checkpoint")))
    assert len(names) == 5 and names[0] == "SHA256SUMS" and names[1] == "state"
    assert not list((folder / "checkpoint" / "state").glob("step-*"))
    assert any("tfevents" in name for name in os.listdir(str(folder / "log")))


def test_one_seed_gives_one_result(small_fashion, trained, tmp_path):
    code, stdout, stderr = run(*training(small_fashion, tmp_path))
    assert code == 0, stderr
    assert stdout == trained[1]
    assert contents(tmp_path) == contents(trained[0])


def test_a_run_that_was_killed_and_interrupted_ends_in_the_same_weights(small_fashion, trained, tmp_path):
    arguments = training(small_fashion, tmp_path)
    assert stop_after_epoch(1, signal.SIGKILL, arguments)[0] == -signal.SIGKILL
    code, stderr = stop_after_epoch(3, signal.SIGINT, arguments + ("--save-every", 0))
    assert code == 130 and "Traceback" not in stderr and "without --fresh, resumes" in stderr
    state = tmp_path / "checkpoint" / "state"
    newest = max(state.glob("step-*"))
    os.truncate(str(sealed(newest, ".index")), 5)  # the one before is whole
    code, stdout, stderr = run(*(arguments[:-1] + (4,)))
    assert_sentence(code, stderr, 2, "seed 3, now 4", "--fresh")
    code, stdout, stderr = run(*arguments)
    assert code == 0, stderr
    assert "Going on from step" in stdout and "Skipped" in stdout
    assert stdout.splitlines()[-1] == trained[1].splitlines()[-1]
    assert contents(tmp_path) == contents(trained[0])
    assert not list(state.glob("step-*"))


def test_a_second_run_in_the_folder_is_refused(small_fashion, tmp_path):
    first = RunState(str(tmp_path / "checkpoint"))
    code, stdout, stderr = run(*training(small_fashion, tmp_path))
    assert_sentence(code, stderr, 1, "another training", str(tmp_path))
    assert first.steps() == []


# ---------------------------------------------------------------------------- evaluation
def readme_accuracy():
    """The figure beside the --evaluate command in the README, in percent."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return float(re.search(r"ex02_fashion_cnn\.py --evaluate\s+#\D*(\d\d\.\d\d) %", file.read()).group(1))


def real_data():
    """The Keras home with the real data set, or None."""
    for home in (os.environ.get("KERAS_HOME"), "~/.keras"):
        if home and idx.find_folder(home, "fashion-mnist"):
            return home
    return None


def test_the_released_weights_reach_the_accuracy_in_the_readme():
    if real_data() is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    changed = run_command("git", "status", "--porcelain", RELEASED)
    if changed.stdout.strip():
        pytest.skip("checkpoints/fashion holds other weights than the released ones")
    images, labels = [whole[:10000 if FULL else 1000] for whole in ex02.load_data(real_data())[1]]
    model, session, history = ex02.load_network(RELEASED)
    with session:
        answers = ex02.probabilities(session, model, images).argmax(axis=1)
    measured = 100 * np.mean(answers == labels)
    # Another machine rounds a borderline picture otherwise; a thousand are a sample of the whole.
    assert abs(measured - readme_accuracy()) <= (0.02 if FULL else 2)
    assert len(history) == 60


# ---------------------------------------------------------------------------- what goes wrong
@pytest.fixture
def copy(trained, tmp_path):
    """A folder with a checkpoint that a test may damage."""
    shutil.copytree(str(trained[0] / "checkpoint"), str(tmp_path / "checkpoint"))
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_checkpoint_is_an_error_that_names_the_file_and_the_command(copy, ending):
    path = sealed(copy, ending)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(checkpoint.CheckpointError) as refused:
        ex02.load_network(str(copy))
    assert refused.value.code == 2 and str(path) in str(refused.value)
    assert "python ex02_fashion_cnn.py --checkpoint-dir %s" % copy in str(refused.value)


@pytest.mark.parametrize("history", ["[]", '{"history": [1]}'])
def test_a_history_of_something_else_is_foreign(copy, history):
    model, session, _ = ex02.load_network(str(copy))
    checkpoint.save(str(copy), session, model.saver, {".json": history.encode()})
    with pytest.raises(checkpoint.CheckpointError, match="history of a training") as refused:
        ex02.load_network(str(copy))
    assert refused.value.problem == "foreign"


def test_a_missing_checkpoint_is_a_sentence(small_fashion, tmp_path):
    code, stdout, stderr = run("--evaluate", "--data-dir", small_fashion, "--checkpoint-dir", tmp_path / "none",
                               "--output-dir", tmp_path)
    assert_sentence(code, stderr, 2, str(tmp_path / "none"), "python ex02_fashion_cnn.py")
    assert stdout == "" and len(stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_a_missing_data_set_is_a_sentence(tmp_path):
    code, stdout, stderr = run("--data-dir", tmp_path / "none")
    assert_sentence(code, stderr, 1, str(tmp_path / "none"), "train-images-idx3-ubyte.gz")
    assert stdout == "" and len(stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"])
@pytest.mark.parametrize("damage", ["removed", "truncated", "other labels"])
def test_a_damaged_data_set_is_a_sentence(small_fashion, tmp_path, name, damage):
    folder = tmp_path / "data"
    shutil.copytree(str(small_fashion), str(folder))
    if damage == "removed":
        os.remove(str(folder / name))
    elif damage == "truncated":
        (folder / name).write_bytes((folder / name).read_bytes()[:-200])
    else:
        write_idx(folder / name, np.full((768,), 10, np.uint8))
    with pytest.raises(UserError, match=str(folder)) as refused:
        ex02.load_data(str(folder))
    assert refused.value.code == 1


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--epochs", "ten"], ["--seed", "-1"], ["--recipe", "none"],
                                       ["surplus"], ["--epochs", "²"]])
def test_wrong_usage_is_a_sentence(arguments, capfd):
    with pytest.raises(SystemExit) as ended:
        ex02.parse(arguments)
    assert_sentence(ended.value.code, capfd.readouterr().err, 2)


def test_help_names_the_defaults():
    code, stdout, _ = run("--help")
    assert code == 0
    for option in ("--evaluate", "--fresh", "--epochs", "--seed", "--data-dir", "--logdir"):
        assert option in stdout
    assert str(ex02.RECIPES["default"].epochs) in stdout


def test_ctrl_c_in_an_evaluation_during_a_training_says_nothing_false(small_fashion, trained, tmp_path):
    """Nor does it advise a command that cannot be used because of the state of the training."""
    folder = shutil.copytree(str(trained[0] / "checkpoint"), str(tmp_path / "copy"))
    during = RunState(folder)
    os.mkdir(os.path.join(during.folder, "step-00000001"))
    arguments = ["--evaluate", "--data-dir", str(small_fashion), "--checkpoint-dir", folder]
    codes = []
    for seconds in 0.1, 0.3, 60:
        code, text = interrupt("ex02_fashion_cnn", arguments, str(tmp_path / "out"), seconds=seconds)
        assert "Traceback" not in text and "--fresh" not in text and "Interrupted" not in text, text
        codes.append(code)
    # A negative one is amid the import of TensorFlow.
    assert codes[-1] == 0 and codes[0] != 0 and set(codes) <= {0, 130, -signal.SIGINT}


def test_ctrl_c_after_the_last_step_leaves_a_finished_run_and_says_so(small_fashion, trained, tmp_path):
    """The signal comes with the last epoch's line: its weights are released, whatever is said."""
    code, stderr = stop_after_epoch(6, signal.SIGINT, training(small_fashion, tmp_path))
    assert "Traceback" not in stderr
    if code == 130 and "has finished" not in stderr:  # it was heard before the last step was saved
        assert "resumes from there" in stderr
        code, _, stderr = run(*training(small_fashion, tmp_path))
    assert code in (0, 130) and contents(tmp_path) == contents(trained[0])
    assert not list((tmp_path / "checkpoint" / "state").glob("step-*"))
