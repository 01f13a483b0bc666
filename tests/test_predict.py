"""./predict: its command line in this process, its predictions in processes of their own."""
import contextlib
import csv
import functools
import io
import json
import os
import random
import re
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from helpers import (FULL, PREDICT, ROOT, SAMPLE, encodings, photograph, png, predict, run,
                     run_command, saved)
from PIL import Image

from ex03_cifar import RELEASE
from ex03_cifar.classifier import MOST_ENERGY
from ex03_cifar.views import picture_views
from support import picture as picture_reader
from support.arguments import checkpoint_folder, named_pictures
from support.checkpoint import CheckpointError

CLASSES = ("Avion", "Automobile", "Oiseau", "Chat", "Cerf",
           "Chien", "Grenouille", "Cheval", "Bateau", "Camion")
MEMORY = 1200  # MB
FASHION = os.path.join(os.path.dirname(RELEASE), "fashion")
program = types.SimpleNamespace(**runpy.run_path(PREDICT, run_name="predict"))

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other terminals, links, signals")
any_bytes = pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode here")


@pytest.fixture
def untrained(weights):
    """The options that name a checkpoint, of an untrained network."""
    return "--checkpoint-dir", weights


@pytest.fixture
def picture(tmp_path):
    """The path of a JPEG of noise."""
    path = str(tmp_path / "bruit.jpg")
    pixels = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def chess(tmp_path):
    """The path of a picture of none of the classes."""
    rows, columns = np.indices((200, 300)) // 25
    Image.fromarray(((rows + columns) % 2 * 255).astype(np.uint8)).save(str(tmp_path / "chess.png"))
    return str(tmp_path / "chess.png")


# ---- The command line ----

def test_help_is_french_and_says_that_every_picture_gets_one_of_ten_classes(capsys):
    with pytest.raises(SystemExit) as end:
        program.parse(["-h"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and "l'une de ces dix" in text
    assert text.startswith("Utilisation : ./predict [options] IMAGE")
    assert not any(word in text for word in ("usage", "show", "exit", "positional"))


@pytest.mark.parametrize("arguments", [
    [], ["--top", "0", "a.png"], ["--top", "²", "a.png"], ["--top"], ["--inconnu", "a.png"],
    ["-chat.jpg"], ["--json=oui", "a.png"], ["--csv", "--json", "a.png"], ["-", "-"],
    ["--explain", "b.gif", "a.png"], ["--explain", "b.png", "a", "b"],
    ["--explain", "/nulle/part/b.png", "a.png"], ["--checkpoint-dir", "", "a.png"]])
def test_wrong_usage_is_told_in_french(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        program.parse(arguments)
    usage, sentence = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert usage.startswith("Utilisation : ") and sentence.startswith("Erreur: ")
    assert not any(word in sentence for word in ("argument", "invalid", "expected"))


def test_options_may_stand_between_the_pictures():
    given = program.parse(["a.png", "--top", "3", "b.png", "--json", "c.png"])
    assert (given.images, given.top, given.json) == (["a.png", "b.png", "c.png"], 3, True)


def test_a_folder_or_a_pattern_stands_for_its_pictures(tmp_path):
    """Without hidden and other files, in order of names; an empty one stands for itself."""
    folder, names = tmp_path / "photos", ["10.JPG", "9.heif", "b/1.jpg", "b/2.jpeg"]
    for name in names + [".h.jpg", "notes.txt", ".b/3.jpg", "vide/x.json"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    if os.name != "nt":
        (folder / "b" / "boucle").symlink_to(folder, target_is_directory=True)
    for words, found in (([""], names), (["b"], names[2:]), (["*"], names[:2]),
                         (["*/*.jp*g", "b/1.jpg"], names[2:] + names[2:3]), (["vide"], ["vide"])):
        assert named_pictures([str(folder / word) for word in words]) == [
            str(folder / name) for name in found]


def test_weights_may_be_named_as_tensorflow_does(weights):
    index, = [name for name in os.listdir(weights) if name.endswith(".index")]
    for name in index, index[:-len(".index")]:
        assert checkpoint_folder(os.path.join(weights, name)) == weights
        assert checkpoint_folder(name) == "."
    assert checkpoint_folder(weights) == weights


# ---- Predictions ----

def test_the_samples_are_recognised():
    names = ["avion", "automobile", "bateau", "camion"]
    paths = [os.path.join(ROOT, "images", name + ".jpg") for name in names]
    code, out, err = predict("--top", "2", *paths, "absent.jpg")
    lines = out.splitlines()
    assert (code, err) == (1, "Erreur: absent.jpg n'existe pas.\n")
    assert lines[::3] == ["%s: Prédiction: %s" % (path, name.capitalize())
                          for path, name in zip(paths, names)]
    for first, second in zip(lines[1::3], lines[2::3]):
        numbers = [re.fullmatch(r"  \w+ +(\d+,\d) %", line).group(1) for line in (first, second)]
        assert float(numbers[0].replace(",", ".")) > float(numbers[1].replace(",", "."))


@any_bytes
def test_a_name_cannot_break_the_lines(untrained, picture, tmp_path):
    odd = os.path.join(os.fsencode(str(tmp_path)), b"a\xff\n\x1b[31mb.jpg")
    os.rename(picture, odd)
    code, out, err = predict(*untrained, odd, odd + b"?")
    assert code == 1 and out.count("\n") == 1 and err.count("\n") == 1
    assert "\\n\\x1b[31mb.jpg: Pr" in out and "\\n\\x1b[31mb.jpg? n'existe pas" in err


@any_bytes
def test_csv_holds_the_same_prediction_and_doubt_as_json(chess, tmp_path):
    odd = os.path.join(os.fsencode(str(tmp_path)), b"a\xff,\n\"b.jpg")
    shutil.copy(SAMPLE, odd)
    absent, *objects = [json.loads(line) for line in predict(
        "--json", str(tmp_path / "absent"), odd, chess)[1].splitlines()]
    code, out, err = predict("--csv", str(tmp_path / "absent"), odd, chess)
    empty, *rows = csv.DictReader(io.StringIO(out, newline=""))
    assert code == 1 and "n'existe pas" in absent["error"] and empty["path"] == absent["path"]
    assert list(empty.values())[1:] == [""] * 4
    assert objects[0]["path"].endswith("a\\xff,\n\"b.jpg")
    for row, found in zip(rows, objects):
        best = max(found["probabilities"], key=found["probabilities"].get)
        assert best == found["name"] == CLASSES[found["class"]] and list(
            found["probabilities"]) == list(CLASSES)
        assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert found["uncertain"] is (found["energy"] > MOST_ENERGY)
        assert (row["path"], int(row["class"]), row["name"]) == (
            found["path"], found["class"], found["name"])
        assert float(row["probability"]) == found["probabilities"][found["name"]]
        assert json.loads(row["uncertain"]) is found["uncertain"]
    assert [found["uncertain"] for found in objects] == [False, True]  # an aeroplane, none of ten


def test_standard_input_is_read(untrained, picture, tmp_path):
    streams = {0: picture, 1: str(tmp_path / "out"), 2: str(tmp_path / "err")}
    assert run("predict", [*untrained, "-"], streams)[0] == 0
    assert (tmp_path / "out").read_bytes().decode("utf-8") == predict(*untrained, picture)[1]


def test_every_encoding_gets_the_same_prediction(tmp_path):
    files = encodings(photograph("avion"))
    assert len(files) >= 20
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = predict(*[str(tmp_path / name) for name in files])
    assert (code, err) == (0, "")
    assert [line.split(": ")[-1] for line in out.splitlines()] == ["Avion"] * len(files)


# ---- Streams ----

@posix
def test_through_a_link_from_any_folder_in_an_old_code_page(untrained, picture, tmp_path):
    os.symlink(PREDICT, str(tmp_path / "devine"))
    done = run_command(sys.executable, "./devine", os.path.basename(picture), "œuf.jpg", *untrained,
                       cwd=str(tmp_path), env=dict(PYTHONIOENCODING="cp850"), encoding="cp850")
    assert done.stdout.startswith("bruit.jpg: Prédiction: ")
    assert done.stderr == "Erreur: \\u0153uf.jpg n'existe pas.\n"


@posix
def test_a_terminal_sees_a_bar_and_a_hint_where_it_is_doubtful(chess):
    import fcntl
    import pty
    import termios
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, PREDICT, chess, chess], stdin=terminal,
                               stdout=terminal, stderr=terminal,
                               env=dict(os.environ, PYTHONIOENCODING="utf-8"))
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # on Linux, once the program has closed the terminal
        while True:
            shown += os.read(controller, 1000)
    os.close(controller)
    assert process.wait() == 0 and b"Images: " in shown
    assert shown.decode("utf-8", "replace").count(": Prédiction: ") == 2
    assert shown.decode("utf-8", "replace").count("prédiction incertaine") == 2


NOTEBOOK = """
import io, os, runpy, sys
class Stream(io.StringIO):
    buffer = property()  # as it has none
real, sys.ps1 = (sys.stdout, sys.stderr), "In : "
for arguments in (sys.argv[2:], ["absent.jpg"], ["--inconnu"]):
    sys.stdout, sys.stderr, sys.argv[1:] = Stream(), Stream(), arguments
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        result = end.code, (sys.stdout.getvalue() + sys.stderr.getvalue()).splitlines()[-1]
    sys.stdout, sys.stderr = real
    print(ascii(result))
os.write(2, b"still alive")
"""


def test_a_notebook_gets_text_and_lives_on(untrained, picture):
    done = run_command(sys.executable, "-c", "import sys; sys.argv[0] = %r\n" % PREDICT + NOTEBOOK,
                       "", picture, *untrained)
    good, absent, unknown = done.stdout.splitlines()
    assert good.startswith("(0, 'Pr\\xe9diction: ") and done.stderr == "still alive"
    assert absent == '''(1, "Erreur: absent.jpg n'existe pas.")'''
    assert unknown == "(2, 'Erreur: option inconnue : --inconnu.')"


# ---- Mistakes ----

def mistakes(folder):
    """Return (path, what its sentence says) of files that are not pictures."""
    text, one_colour = folder / "notes.jpg", folder / "uni.jpg"
    text.write_text("ceci n'est pas une image")
    (folder / "dossier").mkdir()
    (folder / "vide.png").write_bytes(b"")
    (folder / "coupe.png").write_bytes(encodings(photograph().resize((40, 30)))["rgb.png"][:500])
    (folder / "iphone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    Image.new("RGB", (50, 40), "white").save(str(one_colour))
    tags = [(256, 9), (257, 9), (258, 8), (259, 1), (262, 2), (273, 8), (277, 99), (279, 99)]
    (folder / "99.tif").write_bytes(  # samples per pixel, of which Pillow's logger complains
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(99))
    found = [(folder / "absent.jpg", "n'existe pas"), (text / "dedans", "n'existe pas"),
             (folder / "dossier", "est un dossier sans image"),
             (text, "n'est pas une image"), (folder / "vide.png", "est vide"),
             (folder / "coupe.png", "corrompu ou tronqué"), (one_colour, "d'une seule couleur"),
             (folder / "99.tif", "n'est pas une image"),
             (folder / "iphone.jpg", "HEIC (iPhone) ; pour la lire : ")]
    if os.name != "nt":
        os.mkfifo(str(folder / "tube"))
        found += [(folder / "tube", "n'est pas un fichier ordinaire"),
                  ("/dev/zero", "n'est pas un fichier ordinaire")]
    return found


def test_each_mistake_gets_a_sentence_and_no_tensorflow(tmp_path):
    """A TensorFlow that fails on import stands before the real one, and pillow_heif is absent."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "pillow_heif.py").write_text("raise ImportError")
    expected = mistakes(tmp_path)
    code, out, err = predict(*[str(path) for path, _ in expected],
                             env=dict(PYTHONPATH=str(tmp_path)))
    sentences = err.splitlines()
    assert (code, out, len(sentences)) == (1, "", len(expected))
    for sentence, (path, reason) in zip(sentences, expected):
        assert sentence.startswith("Erreur: %s " % path) and reason in sentence


@pytest.mark.parametrize("problem, folder, advised", [
    ("missing", RELEASE, " && git checkout checkpoints"), ("unreadable", RELEASE, ""),
    ("damaged", FASHION, " && git checkout checkpoints"), ("foreign", FASHION, ""),
    ("missing", "à moi", "-m ex03_cifar.train --checkpoint-dir {}"), ("foreign", "à moi", "")])
def test_advice_about_weights_destroys_none(tmp_path, monkeypatch, problem, folder, advised):
    monkeypatch.chdir(tmp_path)
    refused = program.refusal(CheckpointError("", problem=problem), folder)
    said, _, advice = str(refused).partition(" ; ")
    assert said == "%s %s" % (os.path.realpath(folder), program.CHECKPOINT_PROBLEMS[problem])
    assert advice.endswith(advised.format(program.quoted(os.path.realpath(folder))))
    assert refused.code == 2 and bool(advice) == bool(advised) == ("cd %s" % ROOT in advice)


def test_a_file_that_is_not_a_checkpoint_is_left_alone(picture):
    assert predict("--checkpoint-dir", picture, picture) == (
        2, "", "Erreur: %s ne contient pas les poids de ce réseau.\n" % picture)


# ---- Any picture ----

def halves(kind, mode, size, **options):
    """A picture of two colours."""
    picture = Image.new(mode, size, (9,) * len(Image.new(mode, (1, 1)).getbands()))
    picture.paste((200,) * len(picture.getbands()), (0, 0, size[0] // 2, size[1]))
    return saved(picture, kind, **options)


def run_length_bmp(side):
    """A BMP whose every run is one pixel: Pillow decodes it in Python."""
    rows = (b"\1\5" * (side // 2) + b"\1\x90" * (side - side // 2) + b"\0\0") * side
    return (b"BM" + struct.pack("<IHHI", 1078 + len(rows), 0, 0, 1078)
            + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0)
            + bytes(range(256)) * 4 + rows)


def largest_pictures():
    """Yield pictures at the limits, and whether they are read: what takes most memory or time."""
    most, narrow = picture_reader.PIXELS, (picture_reader.PIXELS >> 24, picture_reader.SIDE)
    side, half_transparent = 8192, ((b"PLTE", bytes(range(256)) * 3), (b"tRNS", b"\x80" * 256))
    yield png(*narrow, 3, 8, half_transparent), True
    yield png(*narrow, 6, 8), True
    yield png(1, narrow[1], 2), False  # its rows are alike: one colour
    yield png(1, most, 0, 16), False
    yield png(30000, 9000, 2, rows=[]), False
    yield png(9921, 7016, 2), True  # A3 at 600 dpi
    yield halves("JPEG", "L", (16320, 12240)), True  # of a telephone of 200 megapixels
    yield run_length_bmp(2000), True
    yield run_length_bmp(5000), False
    if not FULL:
        return
    yield png(side, side, 3, 8, half_transparent), True
    for colour_type, bits in ((6, 16), (0, 16), (4, 8)):
        yield png(side, side, colour_type, bits), True
    for colour_type, bits in ((0, 8), (0, 1), (2, 8), (2, 16), (4, 8)):
        yield png(*narrow, colour_type, bits), True
    yield png(*narrow[::-1], 6, 8), True
    yield halves("WEBP", "RGBA", (side, side // 2), method=0), True
    if "AVIF" in Image.SAVE or (Image.init() and "AVIF" in Image.SAVE):
        yield halves("AVIF", "RGBA", (side, side // 2), speed=10, subsampling="4:4:4"), True
    yield halves("JPEG", "RGB", (side, side * 3 // 4), progressive=True, subsampling=0), True
    yield halves("JPEG", "CMYK", (13000, 13000)), True
    yield halves("GIF", "L", (side, side)), True
    yield halves("TIFF", "F", (side, side), compression="tiff_lzw"), True


# A process of its own: a child's peak begins with what its parent had when it was started.
PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status >> 8, usage.ru_maxrss // 1024, file=sys.stderr)
"""


@posix
def test_any_picture_gets_a_prediction_or_a_sentence_in_bounded_memory_and_time(untrained,
                                                                                tmp_path):
    pictures = [(png(22000, 190, 2), True)] * 10 + list(largest_pictures())
    paths = [str(tmp_path / str(number)) for number in range(len(pictures) + 2)]
    for path, (content, _) in zip(paths, pictures):
        with open(path, "wb") as stream:
            stream.write(content)
    for path in paths[-2:]:  # a small picture in a file whose rest is empty: it is read whole
        with open(path, "wb") as stream:
            stream.write(halves("WEBP", "RGB", (64, 64)))
            stream.truncate(picture_reader.FILE_BYTES)
    done = run_command(sys.executable, "-c", PEAK, sys.executable, PREDICT, "--json", *untrained,
                       *paths)
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    code, megabytes = map(int, done.stderr.split())
    assert [prediction["path"] for prediction in predictions] == paths and code == 1
    assert ["name" in prediction for prediction in predictions] == [
        read for _, read in pictures] + [True, True]
    assert megabytes < MEMORY
    for path in paths[9:]:
        began = time.process_time()
        with contextlib.suppress(picture_reader.PictureError):
            picture_views(picture_reader.read_picture(path, 96))
        assert time.process_time() - began < 5, path


def fail_on_large_pictures():
    """Let memory run out while the views of a large picture are made."""
    from ex03_cifar import views
    whole = views.picture_views

    def fail(picture):
        if picture.width > 60:
            raise MemoryError
        return whole(picture)
    views.picture_views = fail


def test_memory_that_runs_out_for_one_picture_does_not_cost_the_others(untrained, tmp_path):
    other = str(tmp_path / "other.png")
    Image.linear_gradient("L").resize((50, 40)).save(other)
    code, text = run("predict", [*untrained, SAMPLE, other], prepare=fail_on_large_pictures)
    assert code == 1 and "Erreur: %s est une image trop grande pour la mémoire.\n" % SAMPLE in text
    assert text.splitlines()[-1].startswith(other + ": Prédiction: ")


# ---- --explain ----

def overwrite(path):
    """Put another file in the place of a picture while it is classified."""
    from ex03_cifar.classifier import Classifier
    whole = Classifier.mean_logits

    def mean_logits(self, pictures):
        with open(path, "wb") as stream:
            stream.write(b"another file")
        return whole(self, pictures)
    Classifier.mean_logits = mean_logits


def test_explain_draws_the_picture_that_was_predicted(untrained, tmp_path):
    """Its file is overwritten meanwhile. (It is a strip, whose last maps are one cell high.)"""
    strip, drawings = Image.linear_gradient("L").resize((3000, 3)).convert("RGB"), []
    strip.paste("navy", (0, 0, 1000, 3))
    picture, drawn = str(tmp_path / "strip.png"), str(tmp_path / "why.png")
    strip.save(picture)
    for change in None, functools.partial(overwrite, picture):
        code, text = run("predict", [*untrained, "--explain", drawn, picture], prepare=change)
        assert code == 0 and re.fullmatch(r"Prédiction: \w+\n", text)
        with Image.open(drawn) as explanation:
            assert explanation.format == "PNG" and explanation.width > explanation.height > 100
            drawings.append(explanation.tobytes())
    assert drawings[0] == drawings[1]


def test_without_matplotlib_explain_says_what_to_install(picture, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    code, out, err = predict("--explain", str(tmp_path / "why.png"), picture,
                             env=dict(PYTHONPATH=str(tmp_path)))
    assert (code, out) == (2, "") and "il manque matplotlib ; " in err


@posix
def test_explain_writes_through_a_link_and_never_over_its_input(untrained, tmp_path):
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    Image.open(SAMPLE).save(str(target))
    os.symlink(str(target), str(link))
    before = target.read_bytes()
    streams = {0: str(target), 1: str(tmp_path / "out"), 2: str(tmp_path / "err")}
    assert run("predict", ["--explain", str(link), "-"], streams)[0] == 2
    assert "écraserait" in (tmp_path / "err").read_text("utf-8") and target.read_bytes() == before
    assert predict(*untrained, "--explain", str(link), SAMPLE)[0] == 0
    assert os.path.islink(str(link)) and target.read_bytes() != before


@posix
def test_an_explanation_on_a_full_disk_is_a_sentence(untrained, tmp_path):
    output = str(tmp_path / "why.png")
    code, text = run("predict", [*untrained, "--explain", output, SAMPLE], limits={"FSIZE": 20000})
    assert code == 1 and text.startswith("Prédiction: ") and os.listdir(str(tmp_path)) == []
    assert text.splitlines()[1:] == ["Erreur: %s ne peut pas être écrit (EFBIG)." % output]


@posix
def test_an_explanation_interrupted_at_random_moments_is_whole_or_not_there(untrained, tmp_path):
    rng = random.Random(0)
    picture = tmp_path / "why.png"
    arguments = [*untrained, "--explain", str(picture), SAMPLE]
    began = time.monotonic()
    assert run("predict", arguments)[0] == 0
    seconds, whole = time.monotonic() - began, picture.read_bytes()
    for number in (signal.SIGINT, signal.SIGTERM) * (8 if FULL else 2):
        picture.unlink()
        code, text = run("predict", arguments, number=number, seconds=rng.uniform(0, seconds))
        assert code in (0, 128 + number) and re.fullmatch(r"(Prédiction: \w+\n)?", text)
        assert set(os.listdir(str(tmp_path))) <= {"why.png"}
        if not picture.exists():
            picture.write_bytes(whole)
        assert picture.read_bytes() == whole
