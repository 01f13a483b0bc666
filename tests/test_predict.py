"""./predict as people run it: real files, real TensorFlow, in a process for each command."""
import contextlib
import csv
import io
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import (FULL, PREDICT, ROOT, SAMPLE, encodings, formats, interrupt, mutations,
                     photograph, png, predict, release, run_command, saved, start_command)
from helpers import run as run_program
from PIL import Image

from ex03_cifar.classifier import MOST_ENERGY
from ex03_cifar.views import picture_views
from support import picture as picture_reader

CLASSES = ("Avion", "Automobile", "Oiseau", "Chat", "Cerf",
           "Chien", "Grenouille", "Cheval", "Bateau", "Camion")
PICTURES, MUTATIONS, MOMENTS = (300, 2000, 8) if FULL else (60, 500, 4)
MEMORY = 1200  # MB
WINDOWS = os.name == "nt"

posix = pytest.mark.skipif(WINDOWS, reason="Windows has other terminals, links, signals")
any_bytes = pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode here")


def run(*arguments, **options):
    """Run ./predict; return its exit code, stdout and stderr, both bytes."""
    return predict(*arguments, encoding=None, **options)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The options that name a checkpoint, of an untrained network."""
    folder = str(tmp_path_factory.mktemp("weights"))
    release(folder, seed=1, widths=(16, 16, 16))
    return "--checkpoint-dir", folder


@pytest.fixture
def picture(tmp_path):
    """The path of a JPEG of noise."""
    path = str(tmp_path / "bruit.jpg")
    pixels = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def lines_of(weights, *arguments, **options):
    """Run ./predict, expect success and nothing on stderr, and return the lines of stdout."""
    code, out, err = run(*(weights + arguments), **options)
    assert (code, err) == (0, b"")
    return out.decode("utf-8").splitlines()


# ---- One picture, and several ----

@pytest.mark.parametrize("name", ["avion", "automobile", "bateau", "camion"])
def test_the_samples_are_recognised(name):
    code, out, err = run(os.path.join(ROOT, "images", name + ".jpg"))
    assert (code, err) == (0, b"")
    assert out.decode("utf-8") == "Prédiction: %s\n" % name.capitalize()


def test_several_pictures_are_predicted_in_order(weights, picture, tmp_path):
    bad = str(tmp_path / "absent.jpg")
    paths = [picture, bad] + [picture] * 70
    code, out, err = run(*weights, *paths)
    lines = out.decode("utf-8").splitlines()
    assert (code, err.decode("utf-8")) == (1, "Erreur: %s n'existe pas.\n" % bad)
    assert len(lines) == 71 and all(line.startswith(picture + ": Prédiction: ") for line in lines)


@any_bytes
def test_json_holds_the_same_prediction(weights, picture, tmp_path):
    odd = os.path.join(os.fsencode(str(tmp_path)), b"a\xff\n\"b.jpg")
    os.rename(picture, odd)
    code, out, err = run("--json", *weights, odd, str(tmp_path / "absent"))
    good, bad = [json.loads(line) for line in out.decode("utf-8").splitlines()]
    assert code == 1
    assert good["name"] == CLASSES[good["class"]]
    assert list(good["probabilities"]) == list(CLASSES)
    assert abs(sum(good["probabilities"].values()) - 1) < 1e-4
    assert max(good["probabilities"], key=good["probabilities"].get) == good["name"]
    assert good["path"].endswith("a\\xff\n\"b.jpg") and "n'existe pas" in bad["error"]


def test_a_folder_or_a_pattern_stands_for_its_pictures(weights, picture, tmp_path):
    """Without hidden and other files, in order of names; an empty one is a sentence."""
    folder, names = tmp_path / "photos", ["10.JPG", "9.heif", "b/1.jpg", "b/2.jpeg"]
    for name in names + [".h.jpg", "notes.txt", ".b/3.jpg", "vide/x.json"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, str(folder / name))
    for words, found in (([""], names), (["b"], names[2:]), (["**"], names), (["*"], names[:2]),
                         (["*/*.jp*g", "b/1.jpg"], names[2:] + names[2:3])):
        lines = lines_of(weights, "--json", *[str(folder / word) for word in words])
        assert [json.loads(line)["path"] for line in lines] == [str(folder / name) for name in found]
    (folder / "b" / "2.jpeg").unlink()
    if not WINDOWS:
        (folder / "b" / "boucle").symlink_to(folder, target_is_directory=True)
    line, = lines_of(weights, str(folder / "b"))
    assert line.startswith(str(folder / "b" / "1.jpg") + ": Prédiction: ")
    code, out, err = run(*weights, str(folder / "vide"), picture)
    assert code == 1 and out.count(b"\n") == 1 and err.endswith(b"vide est un dossier sans image.\n")


@any_bytes
def test_csv_holds_the_same_prediction_and_doubt_as_json(weights, picture, tmp_path):
    odd = os.path.join(os.fsencode(str(tmp_path)), b"a\xff,\n\"b.jpg")
    os.rename(picture, odd)
    paths = [odd, str(tmp_path / "absent"), SAMPLE]
    for which in weights, ():  # an untrained network, the released one
        objects = [json.loads(line) for line in run("--json", *which, *paths)[1].splitlines()]
        code, out, err = run("--csv", *which, *paths)
        rows = list(csv.DictReader(io.StringIO(out.decode("utf-8"), newline="")))
        assert code == 1 and [row["path"] for row in rows] == [line["path"] for line in objects]
        assert list(rows[1].values())[1:] == [""] * 4 and "error" in objects[1]
        assert objects[2]["uncertain"] is (objects[2]["energy"] > MOST_ENERGY)
        for row, line in ((rows[0], objects[0]), (rows[2], objects[2])):
            assert (int(row["class"]), row["name"]) == (line["class"], line["name"])
            assert float(row["probability"]) == line["probabilities"][line["name"]]
            assert json.loads(row["uncertain"]) is line["uncertain"]
    assert objects[2]["uncertain"] is False  # an aeroplane


@pytest.fixture
def chess(tmp_path):
    """The path of a picture of none of the classes."""
    rows, columns = np.indices((200, 300)) // 25
    Image.fromarray(((rows + columns) % 2 * 255).astype(np.uint8)).save(str(tmp_path / "chess.png"))
    return str(tmp_path / "chess.png")


def test_a_picture_of_none_of_the_classes_is_uncertain(chess):
    assert json.loads(lines_of((), "--json", chess)[0])["uncertain"] is True


def test_options_may_stand_between_the_pictures(weights, picture):
    assert lines_of((picture,), "--top", "1", *weights, picture) == lines_of(
        weights, "--top", "1", picture, picture)


def test_top_adds_percentages(weights, picture):
    lines = lines_of(weights, "--top", "3", picture)
    assert len(lines) == 4 and lines[0].split()[1] == lines[1].split()[0]
    numbers = [float(line.split()[1].replace(",", ".")) for line in lines[1:]]
    assert numbers == sorted(numbers, reverse=True) and all(line[-1] == "%" for line in lines[1:])


@any_bytes
def test_a_name_cannot_break_the_lines(weights, picture, tmp_path):
    odd = os.path.join(os.fsencode(str(tmp_path)), b"a\xff\n\x1b[31mb.jpg")
    os.rename(picture, odd)
    code, out, err = run(*weights, odd, odd + b"?")
    assert code == 1 and out.count(b"\n") == 1 and err.count(b"\n") == 1
    assert b"\\n\\x1b[31mb.jpg: Pr" in out and b"\\n\\x1b[31mb.jpg? n'existe pas" in err


def test_standard_input_is_read(weights, picture):
    with open(picture, "rb") as stream:
        assert lines_of(weights, "-", stdin=stream) == lines_of(weights, picture)
    code, out, err = run("-", "-")
    assert code == 2 and "ne peut être lue qu'une fois" in err.decode("utf-8")


@posix
def test_it_runs_through_a_link_from_any_folder_under_a_program_that_uses_tensorflow(
        weights, picture, tmp_path):
    """TensorFlow leaves its choice of behaviour to its children, in the environment."""
    os.symlink(PREDICT, str(tmp_path / "devine"))
    folder, name = os.path.split(picture)
    done = run_command(sys.executable, "./devine", name, *weights, cwd=folder,
                       env=dict(TF2_BEHAVIOR="1"))
    assert done.stdout.startswith("Prédiction: ")


# ---- Streams ----

@pytest.mark.parametrize("changes, encoding", [
    (dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), "utf-8"),
    (dict(PYTHONIOENCODING="ascii"), "utf-8"), (dict(PYTHONIOENCODING="cp850"), "cp850")])
def test_the_prediction_is_utf8_unless_an_encoding_that_has_french_is_asked_for(
        weights, picture, tmp_path, changes, encoding):
    code, out, err = run(*weights, picture, str(tmp_path / "œuf.jpg"), env=changes)
    assert out.decode(encoding).startswith(picture + ": Prédiction: ")
    assert err.decode(encoding).endswith("%suf.jpg n'existe pas.\n" % (
        "œ" if encoding == "utf-8" else "\\u0153"))


@posix
def test_a_terminal_sees_its_own_encoding_a_bar_and_a_hint_where_it_is_doubtful(chess):
    import pty
    controller, terminal = pty.openpty()
    process = start_command(
        sys.executable, "-c", "import fcntl, struct, sys, termios; sys.argv[:1] = []; "
        "fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('4H', 24, 80, 0, 0)); "
        "sys.stdout = open(1, 'w', encoding='cp1252'); import runpy; "
        "runpy.run_path(sys.argv[0], run_name='__main__')", PREDICT, chess, chess,
        stdin=terminal, stdout=terminal, stderr=terminal, encoding=None)
    os.close(terminal)
    shown = b""
    try:
        while True:
            shown += os.read(controller, 1000)
    except OSError:  # on Linux, once the program has closed the terminal
        pass
    assert process.wait() == 0
    assert shown.count(b": Pr\xe9diction: ") == 2 and "Images: " in shown.decode("utf-8", "replace")
    assert shown.decode("utf-8", "replace").count("prédiction incertaine") == 2
    os.close(controller)


NOTEBOOK = """
import os, runpy, sys
class Stream:
    encoding = "UTF-8"
    def __init__(self): self.text = ""
    def write(self, text): self.text += text
    def flush(self): pass
    close = flush
    def isatty(self): return False
real, sys.ps1 = (sys.stdout, sys.stderr), "In : "
for arguments in (sys.argv[2:], ["absent.jpg"], ["--inconnu"], ["--help"]):
    sys.stdout, sys.stderr, sys.argv[1:] = Stream(), Stream(), arguments
    try:
        runpy.run_path({predict!r}, run_name="__main__")
        code = "none"
    except SystemExit as end:
        code = end.code
    result = code, sys.stdout.text.splitlines()[:1], sys.stderr.text.splitlines()[-1:]
    sys.stdout, sys.stderr = real
    print(repr(result).encode("ascii", "replace").decode())
os.write(2, b"still alive")
"""


def test_a_notebook_gets_text_and_lives_on(weights, picture):
    program = NOTEBOOK.format(predict=PREDICT)
    done = run_command(sys.executable, "-c", program, "", picture, *weights)
    good, absent, unknown, usage = done.stdout.splitlines()
    assert good.startswith("(0, ['Pr?diction: ") and good.endswith("], [])")
    assert absent == """(1, [], ["Erreur: absent.jpg n'existe pas."])"""
    assert unknown == "(2, [], ['Erreur: option inconnue : --inconnu.'])"
    assert usage.startswith("(0, ['Utilisation : ") and done.stderr == "still alive"


# ---- Mistakes ----

def test_help_is_french_and_says_that_every_picture_gets_one_of_ten_classes():
    code, out, err = run("--help", env=dict(LC_ALL="C"))
    text = out.decode("utf-8")
    assert (code, err) == (0, b"") and run("-h")[1] == out
    assert text.startswith("Utilisation : ./predict [options] IMAGE") and "l'une de ces dix" in text
    assert not any(word in text for word in ("usage", "show", "exit", "positional"))


@pytest.mark.parametrize("arguments", [
    [], ["--top", "0", "a.png"], ["--top", "²", "a.png"], ["--top"], ["--inconnu", "a.png"],
    ["--json=oui", "a.png"], ["--csv", "--json", "a.png"], ["--explain", "b.gif", "a.png"], ["--explain", "b.png", "a", "b"],
    ["--explain", "/nulle/part/b.png", "a.png"], ["--checkpoint-dir", "", "a.png"]])
def test_wrong_usage_is_told_in_french(arguments):
    code, out, err = run(*arguments)
    usage, sentence = err.decode("utf-8").splitlines()
    assert (code, out) == (2, b"")
    assert usage.startswith("Utilisation : ") and sentence.startswith("Erreur: ")
    assert not any(word in sentence for word in ("argument", "invalid", "expected"))


def test_a_name_that_begins_with_a_dash_is_told_how_to_be_written(picture, tmp_path):
    for name in ("-chat.jpg", "-hiver.jpg"):
        shutil.copy(picture, str(tmp_path / name))
        code, out, err = run(name, "b.jpg", cwd=str(tmp_path))
        assert code == 2 and err.decode("utf-8").endswith("pour cette image : ./%s.\n" % name)


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
    found = [(str(folder / "absent.jpg"), "n'existe pas"),
             (str(folder / "dossier"), "est un dossier sans image"),
             (str(text), "n'est pas une image"), (str(folder / "vide.png"), "est vide"),
             (str(folder / "coupe.png"), "corrompu ou tronqué"),
             (str(one_colour), "d'une seule couleur"),
             (str(folder / "99.tif"), "n'est pas une image"),
             (str(folder / "iphone.jpg"), "HEIC (iPhone) ; pour la lire : "),
             (str(text / "dedans"), "n'existe pas"), ("x" * 300, "le nom est trop long")]
    if not WINDOWS:
        os.mkfifo(str(folder / "tube"))
        os.symlink("boucle", str(folder / "boucle"))
        found += [(str(folder / "tube"), "n'est pas un fichier ordinaire"),
                  ("/dev/zero", "n'est pas un fichier ordinaire"),
                  (str(folder / "boucle"), "les liens symboliques forment une boucle")]
    return found


def test_each_mistake_gets_a_sentence_and_no_tensorflow(tmp_path):
    """A TensorFlow that fails on import stands before the real one, and pillow_heif is absent."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "pillow_heif.py").write_text("raise ImportError")
    expected = mistakes(tmp_path)
    code, out, err = run(*[path for path, _ in expected], env=dict(PYTHONPATH=str(tmp_path)))
    sentences = err.decode("utf-8").splitlines()
    assert (code, out, len(sentences)) == (1, b"", len(expected))
    for sentence, (path, reason) in zip(sentences, expected):
        assert sentence.startswith("Erreur: %s " % path) and reason in sentence


@posix
def test_an_unreadable_file_gets_a_sentence(picture):
    os.chmod(picture, 0)
    if os.access(picture, os.R_OK):
        pytest.skip("permissions do not stop root")
    code, out, err = run(picture)
    assert (code, out) == (1, b"") and "permission refusée" in err.decode("utf-8")


def test_advice_about_weights_destroys_none(picture, tmp_path):
    """A copy of the repository, whose own releases may be damaged."""
    house = tmp_path / "la maison"
    house.mkdir()
    shutil.copy(PREDICT, str(house / "predict"))
    for package in ("support", "ex03_cifar"):
        shutil.copytree(os.path.join(ROOT, package), str(house / package))
    shutil.copytree(os.path.join(ROOT, "checkpoints", "fashion"),
                    str(house / "checkpoints" / "fashion"))
    own = str(tmp_path / "à moi")
    for folder, said, advised in (
            (None, "manque", " && git checkout checkpoints."),
            (str(house / "checkpoints" / "fashion"), "les poids de ce réseau.", "réseau."),
            (picture, "les poids de ce réseau.", "réseau."),
            (own, "manque", "-m ex03_cifar.train --checkpoint-dir '%s'." % own)):
        done = run_command(sys.executable, str(house / "predict"), picture,
                           *["--checkpoint-dir", folder] if folder else [])
        sentence, = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (2, "") and said in sentence
        assert sentence.endswith(advised) and ("cd '%s'" % house in sentence) == ("&&" in sentence)


def test_weights_may_be_named_as_tensorflow_does(weights, picture, tmp_path):
    index, = [name for name in os.listdir(weights[1]) if name.endswith(".index")]
    for name in index, index[:-len(".index")]:
        for folder, cwd in (weights[1], None), ("", weights[1]):
            path = os.path.join(folder, name)
            assert predict("--checkpoint-dir", path, picture, cwd=cwd)[::2] == (0, "")


def test_a_programming_error_is_not_a_damaged_picture(weights):
    """As when Pillow changes: `Image.draft` is taken away."""
    program = ("import runpy, sys; from PIL import Image, JpegImagePlugin; "
               "del Image.Image.draft, JpegImagePlugin.JpegImageFile.draft; sys.argv[:1] = []; "
               "runpy.run_path(sys.argv[0], run_name='__main__')")
    done = run_command(sys.executable, "-c", program, PREDICT, SAMPLE, *weights)
    assert done.returncode == 1 and "AttributeError" in done.stderr and "Erreur" not in done.stderr


# ---- Interrupts ----

@posix
def test_an_interrupt_while_it_reads_the_first_picture_is_quiet():
    process = start_command(sys.executable, PREDICT, "-", stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(2)
    assert (process.communicate(timeout=60), process.returncode) == (("", ""), 130)


# ---- Any picture ----

def test_every_encoding_gets_the_same_prediction(tmp_path):
    files = encodings(photograph("avion"))
    assert len(files) >= 20
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = run(*[str(tmp_path / name) for name in files])
    assert (code, err) == (0, b"")
    lines = out.decode("utf-8").splitlines()
    assert [line.split(": ")[-1] for line in lines] == ["Avion"] * len(files)


def test_damaged_files_get_a_prediction_or_a_sentence(weights, tmp_path):
    """Thousands of files, each cut, with flipped bits or under another's header, in one call."""
    damaged = dict(mutations(formats(), MUTATIONS, np.random.RandomState(0)))
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = run("--json", *(weights + tuple(str(tmp_path / name) for name in damaged)))
    lines = [json.loads(line) for line in out.decode("utf-8").splitlines()]
    errors = [line["error"] for line in lines if "error" in line]
    assert code == 1
    assert [os.path.basename(line["path"]) for line in lines] == list(damaged)
    assert all(line["name"] in CLASSES for line in lines if "error" not in line)
    assert err.decode("utf-8").splitlines() == ["Erreur: " + error for error in errors]
    assert 0 < len(errors) < len(damaged)


def hard_pictures(count, rng):
    """Yield `count` picture files, bytes: any size up to the limits and beyond, mode and format."""
    kinds = [("PNG", mode) for mode in ("L", "RGB", "RGBA", "P", "1", "I;16", "LA")] + [
        ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"),
        ("TIFF", "F"), ("WEBP", "RGB"), ("PPM", "RGB"), ("PPM", "L")]
    for number in range(count):
        largest = 10 ** rng.uniform(0, 8)  # pixels
        width = max(1, int(largest ** rng.uniform(0, 1)))
        height = max(1, int(largest / width))
        if number % 12 == 5:  # more than may be, and nothing behind it
            yield png(rng.randint(9000, 30000), 9000, 2, rows=[])
            continue
        if number % 3 == 0:  # large ones by hand, which Pillow would take long to write
            colour_type, channels = [(0, 1), (2, 3), (6, 4)][rng.randint(3)]
            whole = width * height <= picture_reader.PIXELS and channels * largest < 2e8
            yield png(width, height, colour_type, rows=None if whole else [])
            continue
        kind, mode = kinds[rng.randint(len(kinds))]
        side = 16383 if kind == "WEBP" else 65500
        width, height = min(width, side), min(height, side, max(1, 2000000 // width))
        image = Image.new("RGB", (width, height), tuple(rng.randint(0, 256, 3).tolist()))
        image.paste(tuple(rng.randint(0, 256, 3).tolist()), (0, 0, width // 2, height))
        stream = io.BytesIO()
        if mode == "I;16":
            image = Image.fromarray(np.full((height, width), rng.randint(65536), np.uint16))
        else:
            image = image.convert("L").convert("LA") if mode == "LA" else image.convert(mode)
        image.save(stream, kind)
        yield stream.getvalue()


def halves(kind, mode, size, **options):
    """A picture of two colours."""
    picture = Image.new(mode, size, (9,) * len(Image.new(mode, (1, 1)).getbands()))
    picture.paste((200,) * len(picture.getbands()), (0, 0, size[0] // 2, size[1]))
    return saved(picture, kind, **options)


def run_length_bmp(side):
    """A BMP whose every run is one pixel: Pillow decodes it in Python."""
    rows = (b"\1\5" * side + b"\0\0") * side
    return (b"BM" + struct.pack("<IHHI", 1078 + len(rows), 0, 0, 1078)
            + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0)
            + bytes(1024) + rows)


def largest_pictures():
    """Yield pictures at the limits, bytes: very narrow, and square, in what takes most memory."""
    most, side = picture_reader.PIXELS, 8192
    narrow = most // picture_reader.SIDE, picture_reader.SIDE
    half_transparent = ((b"PLTE", bytes(range(256)) * 3), (b"tRNS", b"\x80" * 256))
    yield png(narrow[0], narrow[1], 3, 8, half_transparent)
    yield png(narrow[0], narrow[1], 6, 8)
    yield png(1, most, 0, 16)
    yield run_length_bmp(5000)
    if "AVIF" in Image.SAVE or (Image.init() and "AVIF" in Image.SAVE):
        size = side, side // (1 if FULL else 2)
        yield halves("AVIF", "RGBA", size, speed=10, subsampling="4:4:4")
    if not FULL:
        return
    yield png(side, side, 3, 8, half_transparent)
    yield png(side, side, 6, 16)
    yield png(side, side, 0, 16)
    for colour_type, bits in ((0, 8), (0, 1), (2, 8), (2, 16), (4, 8), (6, 8)):
        yield png(narrow[0], narrow[1], colour_type, bits)
    yield png(narrow[1], narrow[0], 6, 8)
    yield halves("WEBP", "RGBA", (side, side // 2), method=0)
    yield halves("JPEG", "RGB", (side, side), progressive=True, subsampling=0)
    yield halves("JPEG", "CMYK", (13000, 13000))
    yield halves("GIF", "P", (side, side))
    yield halves("TIFF", "F", (side, side), compression="tiff_lzw")
    yield run_length_bmp(2000)


# A process of its own: a child's peak begins with what its parent had when it was started.
PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status >> 8, usage.ru_maxrss // 1024, file=sys.stderr)
"""


@posix
def test_any_picture_gets_a_prediction_or_a_sentence_in_bounded_memory_and_time(weights, tmp_path):
    """Sizes up to the limits and beyond, modes and formats; each takes at most 5 s of a core."""
    contents = [png(22000, 190, 2)] * (PICTURES // 6) + list(largest_pictures()) + list(
        hard_pictures(PICTURES, np.random.RandomState(1)))
    paths = [str(tmp_path / str(number)) for number in range(len(contents) + 2)]
    for path, content in zip(paths, contents):
        with open(path, "wb") as stream:
            stream.write(content)
    for path in paths[-2:]:  # a small picture in a file whose rest is empty: it is read whole
        with open(path, "wb") as stream:
            stream.write(halves("WEBP", "RGB", (64, 64)))
            stream.truncate(picture_reader.FILE_BYTES)
    done = run_command(sys.executable, "-c", PEAK, sys.executable, PREDICT, "--json", *weights,
                       *paths)
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    code, megabytes = map(int, done.stderr.split())
    assert [prediction["path"] for prediction in predictions] == paths and code == 1
    assert all(("name" in prediction) != ("error" in prediction) for prediction in predictions)
    assert 0.4 < np.mean(["name" in prediction for prediction in predictions]) < 1
    assert megabytes < MEMORY
    for path in paths[PICTURES // 6 - 1:]:
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


def test_memory_that_runs_out_for_one_picture_does_not_cost_the_others(weights, tmp_path):
    other, output = str(tmp_path / "other.png"), tmp_path / "out"
    Image.linear_gradient("L").resize((50, 40)).save(other)
    code, text = run_program("predict", [*weights, SAMPLE, other], str(output),
                             prepare=fail_on_large_pictures)
    assert code == 1 and "Erreur: %s est une image trop grande pour la mémoire.\n" % SAMPLE in text
    assert text.splitlines()[-1].startswith(other + ": Prédiction: ")


# ---- --explain ----

def test_explain_draws_the_picture_that_was_predicted(weights, picture, tmp_path):
    """Its file is overwritten meanwhile; the same picture is then read from standard input."""
    output, drawings = str(tmp_path / "why.png"), []
    program = ("import runpy, sys; sys.argv[:1] = []; sys.path.insert(0, {root!r})\n"
               "from ex03_cifar.classifier import Classifier\n"
               "whole = Classifier.predict\n"
               "def predict(self, pictures):\n"
               "    open({picture!r}, 'wb').write(b'another file')\n"
               "    return whole(self, pictures)\n"
               "Classifier.predict = predict\n"
               "runpy.run_path(sys.argv[0], run_name='__main__')").format(
                   root=ROOT, picture=picture)
    shutil.copy(picture, str(tmp_path / "copy"))
    with open(str(tmp_path / "copy"), "rb") as stream:
        for path in (picture, "-"):
            done = run_command(sys.executable, "-c", program, PREDICT, "--explain", output, path,
                               *weights, stdin=stream)
            assert (done.returncode, done.stderr) == (0, "")
            with Image.open(output) as drawn:
                assert drawn.format == "PNG" and drawn.width > drawn.height > 200
                drawings.append(drawn.tobytes())
    assert drawings[0] == drawings[1]


def test_explain_copes_with_a_strip(weights, tmp_path):
    strip = Image.linear_gradient("L").resize((3000, 3)).convert("RGB").rotate(180)
    strip.paste("navy", (0, 0, 1000, 3))
    strip.save(str(tmp_path / "strip.png"))
    lines_of(weights, "--explain", str(tmp_path / "why.png"), str(tmp_path / "strip.png"))


def test_without_matplotlib_explain_says_what_to_install(weights, picture, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    code, out, err = run("--explain", str(tmp_path / "why.png"), picture, *weights,
                         env=dict(PYTHONPATH=str(tmp_path)))
    assert (code, out) == (2, b"") and b"il manque matplotlib ; " in err


@posix
def test_explain_writes_through_a_link_and_never_over_its_input(weights, tmp_path):
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    Image.open(SAMPLE).save(str(target))
    os.symlink(str(target), str(link))
    before = target.read_bytes()
    with open(str(target), "rb") as stream:
        code, out, err = predict("--explain", str(link), "-", stdin=stream)
    assert (code, out) == (2, "") and "écraserait" in err and target.read_bytes() == before
    assert predict(*weights, "--explain", str(link), SAMPLE)[0] == 0
    assert os.path.islink(str(link)) and target.read_bytes() != before


@posix
def test_an_explanation_on_a_full_disk_is_a_sentence(weights, tmp_path):
    output = str(tmp_path / "why.png")
    code, text = run_program("predict", [*weights, "--explain", output, SAMPLE],
                             str(tmp_path / "out"), limits={"FSIZE": 20000})
    assert code == 1 and text.startswith("Prédiction: ") and os.listdir(str(tmp_path)) == ["out"]
    assert text.splitlines()[1:] == ["Erreur: %s ne peut pas être écrit (EFBIG)." % output]


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_explanation_interrupted_at_random_moments_is_whole_or_not_there(
        weights, tmp_path, number):
    rng = random.Random(int(number))
    output, picture = str(tmp_path / "out"), tmp_path / "why.png"
    arguments = [*weights, "--explain", str(picture), SAMPLE]
    began = time.monotonic()
    assert run_program("predict", arguments, output)[0] == 0
    seconds, whole = time.monotonic() - began, picture.read_bytes()
    for _ in range(MOMENTS):
        picture.unlink()
        code, text = interrupt("predict", arguments, output, number,
                               seconds=rng.uniform(0, seconds))
        assert code in (0, 128 + number) and re.fullmatch(r"(Prédiction: \w+\n)?", text)
        assert set(os.listdir(str(tmp_path))) <= {"out", "why.png"}
        if not picture.exists():
            picture.write_bytes(whole)
        assert picture.read_bytes() == whole
