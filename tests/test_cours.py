"""docs/cours.md: its code runs, its gaps can be filled, its numbers are true."""
import os
import re
import runpy
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

# The solutions of exercises 2 and 3 with so few filters that a test trains them in seconds.
SMALL = [("x, 32, 5", "x, 8, 5"), ("pool1, 64", "pool1, 8"), ("pool2, 128", "pool2, 8"),
         ("x, 32, 3", "x, 16, 3"), ("x, 64", "x, 16"), ("x, 128", "x, 16"),
         ("flat, 256", "flat, 64"), ("EPOCHS = 5", "EPOCHS = 15")]
RELU, LOSS = ", activation=tf.nn.relu", "tf.losses.sparse_softmax_cross_entropy(labels, logits)"
PICTURE = 'picture.convert("RGB").resize((32, 32), Image.BILINEAR)'
RESTORE = "tf.train.Saver().restore(session, checkpoint)"
MISTAKES = [  # exercise, what a student writes instead, and what the sentence names
    ("ex01", "horizontal.T", "horizontale.T", "ligne .*« vertical = horizontale.T"),
    ("ex01", ")[:, :, np.newaxis]", ")", r"kernel a la forme \(3, 3, 2\)"),
    ("ex01", "[horizontal, vertical]", "[vertical, horizontal]", "l'ordre des filtres"),
    ("ex01", '"VALID"', '"SAME"', "padding est SAME"),
    ("ex01", "strides=1", "strides=2", "le pas de conv2d est 2"),
    ("ex01", "[-1, -2, -1]", "[1, 2, 1]", "somme 8"),
    ("ex01", "tf.nn.conv2d(pixels, kernel, strides=1, padding=\"VALID\")",
     "tf.stack([tf.constant(np.asarray(Image.open('images/ex01_%s.png' % name)), tf.float32)"
     " for name in ('horizontal', 'vertical')], -1)[tf.newaxis]", "responses n'est pas"),
    ("ex02", "max_pooling2d(conv1", "average_pooling2d(conv1", "average-pooling"),
    ("ex02", "max_pooling2d(conv1, 2, 2)", "max_pooling2d(conv1, 2, 1)", "son pas doit être 2"),
    ("ex02", "max_pooling2d(conv1, 2, 2)", "max_pooling2d(conv1)", "ligne .*pool1.*TypeError"),
    ("ex02", "(x, 8, 5", "(x, 5, 8", "5 filtres de côté 8"),
    ("ex02", "8, 5, padding=\"same\"" + RELU, "8, 5, padding=\"same\"", "sa ReLU"),
    ("ex02", "tf.layers.flatten(conv3)", "conv3", r"logits a la forme \(.*, 7, 7, 10\)"),
    ("ex02", "(dense, 10", "(dense, 10" + RELU, "sauf la dernière"),
    ("ex02", "(dense, 10", "(dense, 10, activation=tf.nn.softmax", "softmax est calculé deux fois"),
    ("ex02", "labels, logits)", "logits, labels)", "ligne .* labels est .*int32"),
    ("ex02", LOSS, LOSS.replace("logits)", "dense)"), "loss doit être un nombre"),
    ("ex02", "minimize(loss)", "minimize(logits)", "c'est la perte"),
    ("ex02", "minimize(loss)", "minimize(-loss)", "pas apprises par cœur"),
    ("ex03", "saver = tf.train.Saver()", "saver = tf.train.Saver", "il manque des parenthèses"),
    ("ex03", RESTORE, "session.run(tf.global_variables_initializer())", "restore ne rend pas"),
    ("ex03", RESTORE, "pass", "doit le relire"),
    ("ex03", "return tf.layers.dense(dense, 10)", "tf.layers.dense(dense, 10)", "manque un return"),
    ("ex03", PICTURE, PICTURE.replace('convert("RGB").', ""), "d'une image RGBA de taille"),
    ("ex03", ")[np.newaxis]", ")[np.newaxis, ..., ::-1]", "rouge et bleu"),
    ("ex03", ")[np.newaxis]", ").transpose(1, 0, 2)[np.newaxis]", "lignes et colonnes"),
    ("ex03", ")[np.newaxis]", ")[np.newaxis] / 255", "divisés par 255"),
    ("ex03", "np.argmax(scores)", "np.argmin(scores)", "classify rend 'Avion' là où Chat"),
]


@pytest.fixture
def student(tmp_path, monkeypatch, small_fashion, capsys):
    """Run a student's program, in a folder like a clone: a solution, changed.

    Called with its text, (old, new) changes and arguments, it returns the sentence that the
    program ends with, "" where it ends well.
    """
    from ex03_cifar import dataset
    (tmp_path / "images").mkdir()
    for name in "source.jpg", "avion.jpg", "ex01_horizontal.png", "ex01_vertical.png":
        shutil.copy(os.path.join(ROOT, "images", name), str(tmp_path / "images"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(small_fashion))
    for split, seed in ("load_train", 1), ("load_test", 2):
        monkeypatch.setattr(dataset, split, lambda seed=seed: generated_images(500, seed))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.syspath_prepend(os.path.join(ROOT, "docs", "exercices"))
    program = tmp_path / "student.py"

    def run(code, changes, *arguments):
        for old, new in changes:
            code = code.replace(old, new)
        program.write_text(code, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", [str(program)] + list(arguments))
        monkeypatch.delitem(sys.modules, "outils", raising=False)
        with tf.Graph().as_default():
            try:
                runpy.run_path(str(program), run_name="__main__")
            except SystemExit as end:
                return end.code or ""
            except Exception as error:
                sys.excepthook(type(error), error, error.__traceback__)
                return capsys.readouterr().err
        return ""
    return run


def solution(name):
    return read("docs", "exercices", "solutions", name + ".py")


def table(head):
    """The rows of the table whose head begins like this, as lists of cells."""
    lines = COURSE[COURSE.index("\n" + head) + 1:].split("\n\n")[0].splitlines()
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_heading_of_the_original_page_has_its_section():
    sections = re.findall("^##? (.*)", COURSE, re.M)
    assert [line for line in sections if line in HEADINGS] == HEADINGS


@pytest.mark.parametrize("code, output", SNIPPETS)
def test_a_snippet_prints_what_the_course_says(code, output, capsys):
    assert len(code.splitlines()) <= 10 and len(SNIPPETS) == COURSE.count("```python")
    with tf.Graph().as_default():
        exec(compile(code, "snippet", "exec"), {})
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == output.splitlines()


@pytest.mark.parametrize("name, gap",
                         [("ex01", "horizontal"), ("ex02", "conv1"), ("ex03", "features")])
def test_a_starter_file_is_its_solution_with_gaps_and_names_the_first(name, gap, student):
    starter = read("docs", "exercices", name + ".py")
    code, solved = [text.split('"""\n', 1)[1] for text in (starter, solution(name))]
    pattern = ""
    for line in code.splitlines():
        gap_left = re.match(r"( *)(\w+ = |return )?None  # À COMPLÉTER", line)
        pattern += (r"(?: +.+\n)*?%s%s.+\n" % (gap_left.group(1), gap_left.group(2) or "")
                    if gap_left else re.escape(line) + "\n")
    assert re.fullmatch(pattern, solved)
    assert " : %s = None  # À COMPLÉTER" % gap in student(starter, [])


@pytest.mark.parametrize("name, old, new, named", MISTAKES)
def test_a_mistake_is_named_before_training(name, old, new, named, student):
    found = student(solution(name), SMALL + [(old, new)], "--check")
    assert re.search("Erreur : .*" + named, found)


def test_the_solution_of_exercise_1_gives_the_pictures_of_the_course(student, capsys):
    assert student(solution("ex01"), []) == ""
    assert capsys.readouterr().out.count("identique à celle du cours") == 2


def test_the_solution_of_exercise_2_tells_the_classes_apart(student, capsys):
    assert student(solution("ex02"), SMALL) == ""
    assert float(re.search(r"Test : ([\d.]+) %", capsys.readouterr().out).group(1)) > 90


def test_the_course_shows_the_layers_of_the_solution_of_exercise_2(student, capsys):
    """Which are printed before a loss is found wrong; so large a network takes time to train."""
    wrong = LOSS, LOSS.replace("logits)", "dense)")
    assert "loss" in student(solution("ex02"), [wrong], "--check")
    layers = re.findall("^convolution .*|^dense .*", capsys.readouterr().out, re.M)
    assert len(layers) == 5 and "\n".join(layers) in COURSE


def test_the_solution_of_exercise_3_trains_and_predicts_with_its_own_weights_only(student, capsys):
    code, image = solution("ex03"), os.path.join("images", "avion.jpg")
    assert "entraînez d'abord" in student(code, SMALL, image)
    assert student(code, SMALL) == ""
    assert float(re.search(r"images de test : ([\d.]+) %", capsys.readouterr().out).group(1)) > 50
    assert student(code, SMALL, image) == ""
    assert re.match("Prédiction: [A-Z][a-z]+\n$", capsys.readouterr().out)
    assert "conv2d/kernel est [3, 3, 3, 8] ici" in student(
        code, SMALL + [("x, 16, 3, padding", "x, 8, 3, padding")], image)


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
