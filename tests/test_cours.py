"""docs/cours.md: its code runs, its gaps can be filled, its numbers are true."""
import os
import re
import shutil
import sys

import numpy as np
import pytest
from helpers import ROOT, generated_images

from support.tf1 import tf


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as stream:
        return stream.read()


COURSE = read("docs", "cours.md")
SNIPPETS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", COURSE, re.M | re.S)
HEADINGS = """Jour 04 - Convolutional neural networks, Introduction, Convolution, L'intérêt,
Réseau convolutionnel, Features de haut niveau et bas niveau, Pooling, ReLU, Wrap up,
Une dernière étape, Faire le point, Exercice 01 : Application des poids/filtres,
Exercice 2 : Fashion 2.0, Exercice 3 : CIFAR 10""".replace("\n", " ").split(", ")

# What a student writes into the gaps of docs/exercices/.
CONV = "tf.layers.conv2d(%s, %d, %d, padding='same', activation=tf.nn.relu)"
POOL = "tf.layers.max_pooling2d(%s, 2, 2)"
HEAD = {"logits": "tf.layers.dense(dense, 10)",
        "dense": "tf.layers.dense(flat, 64, activation=tf.nn.relu)",
        "loss": "tf.losses.sparse_softmax_cross_entropy(labels, logits)"}
GAPS = {
    "ex01": {"horizontal": "np.float32([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])",
             "vertical": "horizontal.T",
             "kernel": "np.stack([horizontal, vertical], axis=-1)[:, :, np.newaxis]",
             "responses": "tf.nn.conv2d(pixels, kernel, strides=1, padding='VALID')"},
    "ex02": dict(HEAD, conv1=CONV % ("x", 8, 5), pool1=POOL % "conv1",
                 conv2=CONV % ("pool1", 16, 3), pool2=POOL % "conv2", conv3=CONV % ("pool2", 16, 3),
                 flat="tf.layers.flatten(conv3)",
                 train="tf.train.AdamOptimizer(0.001).minimize(loss)"),
    "ex03": dict(HEAD, features=POOL % (CONV % (POOL % (CONV % ("x", 16, 3)), 16, 3)),
                 flat="tf.layers.flatten(features)", saver="tf.train.Saver()",
                 name="CLASS_NAMES[np.argmax(scores)]"),
}


def run(code, name, *arguments):
    """Run a program's text in this process, in a graph of its own."""
    sys.argv = [name] + list(arguments)
    with tf.Graph().as_default():
        exec(compile(code, name, "exec"), {"__name__": "__main__"})


def completed(name):
    """The starter file with every gap filled, its training three times as long."""
    code = read("docs", "exercices", name + ".py")
    for gap, solution in GAPS[name].items():
        code, count = re.subn(r"\b%s = None  # À COMPLÉTER.*" % gap, gap + " = " + solution, code)
        assert count == 1, gap
    assert "= None" not in code
    return code.replace("EPOCHS = 5", "EPOCHS = 15")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the pictures that the starter files read, for them to run in."""
    (tmp_path / "images").mkdir()
    for name in "source.jpg", "avion.jpg", "ex01_horizontal.png", "ex01_vertical.png":
        shutil.copy(os.path.join(ROOT, "images", name), str(tmp_path / "images"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)


@pytest.fixture
def datasets():
    tf.layers.dense  # imports TensorFlow, with the Keras that tf.layers needs
    from tensorflow import keras
    return keras.datasets


def table(head):
    """The rows of the table whose head begins like this, as lists of cells."""
    lines = COURSE[COURSE.index("\n" + head) + 1:].split("\n\n")[0].splitlines()
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_heading_of_the_original_page_has_its_section():
    sections = re.findall("^##? (.*)", COURSE, re.M)
    assert [line for line in sections if line in HEADINGS] == HEADINGS


@pytest.mark.parametrize("code, output", SNIPPETS)
def test_a_snippet_prints_what_the_course_says(code, output, clone, capsys):
    assert len(code.splitlines()) <= 10 and len(SNIPPETS) == COURSE.count("```python")
    run(code, "snippet")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == output.splitlines()


@pytest.mark.parametrize("name", sorted(GAPS))
def test_a_starter_file_names_the_first_gap_that_is_left(name, clone, monkeypatch, datasets):
    for data in datasets.fashion_mnist, datasets.cifar10:
        monkeypatch.setattr(data, "load_data", lambda: (generated_images(2, 0),) * 2)
    with pytest.raises(SystemExit, match="Il reste à compléter : (horizontal|conv1|features)"):
        run(read("docs", "exercices", name + ".py"), name)


def test_exercise_1_completed_gives_the_pictures_of_the_course(clone, capsys):
    run(completed("ex01"), "ex01")
    assert capsys.readouterr().out.count("identique à celle du cours") == 2
    run(completed("ex01").replace("horizontal.T", "-horizontal"), "ex01")
    assert capsys.readouterr().out.count("encore différente de celle du cours") == 1


def test_exercise_2_completed_tells_the_classes_apart(clone, monkeypatch, datasets, capsys, small_fashion):
    import ex02_fashion_cnn
    data = ex02_fashion_cnn.load_data(str(small_fashion))
    monkeypatch.setattr(datasets.fashion_mnist, "load_data", lambda: data)
    run(completed("ex02"), "ex02")
    assert float(re.findall(r"test ([\d.]+) %", capsys.readouterr().out)[-1]) > 90


def test_exercise_3_completed_trains_and_predicts(clone, monkeypatch, datasets, capsys):
    data = [generated_images(500, seed) for seed in (1, 2)]
    monkeypatch.setattr(datasets.cifar10, "load_data",
                        lambda: [(images, labels[:, np.newaxis]) for images, labels in data])
    with pytest.raises(SystemExit, match="Entraînez d'abord"):
        run(completed("ex03"), "ex03", "images/avion.jpg")
    run(completed("ex03"), "ex03")
    assert float(re.findall(r"test ([\d.]+) %", capsys.readouterr().out)[-1]) > 50
    run(completed("ex03"), "ex03", "images/avion.jpg")
    assert re.match("Prédiction: [A-Z][a-z]+\n$", capsys.readouterr().out)


def test_the_table_of_layers_is_the_graph_of_exercise_2():
    from ex02_fashion_cnn import RECIPES, network
    rows = table("| couche | noyau")
    for recipe, filters, parameters in (("default", 3, 5), ("best", 6, 7)):
        sizes = {}  # of each layer that is trained, in the network's order
        with tf.Graph().as_default() as graph:
            network(tf.placeholder(tf.uint8, [None, 28, 28]), RECIPES[recipe], training=True)
            for variable in tf.trainable_variables():
                layer = variable.op.name.split("/")[1]
                sizes[layer] = sizes.get(layer, 0) + variable.shape.num_elements()
        counts = [int(row[parameters].replace(" ", "")) for row in rows]
        assert list(filter(None, counts)) == list(sizes.values()) + [sum(sizes.values())]
        windows = [operation for operation in graph.get_operations()
                   if operation.type in ("Conv2D", "MaxPool")]
        for operation, row in zip(windows, [row for row in rows if row[1]]):
            convolution = operation.type == "Conv2D"
            kernel = (operation.inputs[1].shape.as_list() if convolution
                      else operation.get_attr("ksize")[1:])
            assert row[1] == "%d×%d" % tuple(kernel[:2])
            assert operation.get_attr("strides") == [1, int(row[2]), int(row[2]), 1]
            shape = operation.outputs[0].shape.as_list()[1:]
            assert row[filters] == (str(shape[-1]) if convolution else "")
            assert recipe == "best" or row[4] == "%d×%d×%d" % tuple(shape)


def test_what_the_course_says_of_x_and_o_is_what_the_pictures_compute():
    from tools import draw_course
    layers, _ = draw_course.compute()
    best = layers["maps"].max(axis=(1, 2)).astype(int)
    rows = {row[0]: row[1:] for row in table("| | bras ↘")}
    assert rows == {"X": best[0].astype(str).tolist(), "O": best[1].astype(str).tolist()}
    small = layers["smallest"].astype(int)
    letters, filters = (draw_course.grids(drawing)
                        for drawing in (draw_course.LETTERS, draw_course.FILTERS))
    percent = np.round(100 * layers["probabilities"][:, 0]).astype(int)
    plus = np.full([9, 9], -1)
    plus[4, 1:8] = plus[1:8, 4] = 1
    most = max((plus[row:row + 3, column:column + 3] * pattern).sum()
               for row in range(7) for column in range(7) for pattern in filters)
    for sentence in ("`%s` pour le X et `%s` pour le O" % (small[0, ..., 0].tolist(),
                                                          small[1, ..., 0].tolist()),
                     "%d des 81 pixels" % (letters[0] != letters[2]).sum(),
                     "%d nombres sur 12" % (small[0] != small[2]).sum(),
                     "soit %d %%" % percent[0], "à %d, %d et %d %%" % tuple(percent[2:5]),
                     "aucun des trois filtres ne dépasse %d" % most):
        assert sentence in COURSE, sentence


def test_every_link_leads_somewhere():
    anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-")
               for line in re.findall("^#+ (.*)", COURSE, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", COURSE):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert os.path.exists(os.path.join(ROOT, "docs", target)), target


def test_every_picture_is_drawn_by_a_command_that_is_named():
    drawn = {"source.jpg"}  # what exercise 1 begins with
    for command, pictures in table("| commande | images"):
        program = re.search(r"python (?:-m )?([\w./]+)", command).group(1)
        path = program if program.endswith(".py") else program.replace(".", "/") + ".py"
        sources = read(path) + read("figures/ex02.py")
        drawn.update(name for name in re.findall("`(.+?)`", pictures) if name in sources)
    assert drawn == set(re.findall(r"\(\.\./images/(.+?)\)", COURSE))
