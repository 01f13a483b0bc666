"""./predict as people run it: real files, real TensorFlow, a process of its own each time."""
import contextlib
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
from helpers import (FULL, PREDICT, ROOT, SAMPLE, encodings, formats, interrupt, mutations, photograph, png,
                     predict, release, run_command, saved, start_command)
from helpers import run as run_program
from PIL import Image

from ex03_cifar.views import picture_views
from support import picture as picture_reader

CLASSES = ("Avion", "Automobile", "Oiseau", "Chat", "Cerf",
           "Chien", "Grenouille", "Cheval", "Bateau", "Camion")
RELEASE = os.path.join(ROOT, "checkpoints", "cifar10")
PICTURES, MUTATIONS, MOMENTS = (300, 2000, 50) if FULL else (60, 500, 6)
MEMORY = 1200  # MB

released = pytest.mark.skipif(not os.path.isdir(RELEASE), reason="there is no %s" % RELEASE)


def run(*arguments, **options):
    """Run ./predict; return its exit code, stdout and stderr, both bytes."""
    return predict(*arguments, encoding=None, **options)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The options that name a checkpoint: an untrained network answers as formally as any."""
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
    """Run ./predict, expect success without a word on stderr, and return the lines of stdout."""
    code, out, err = run(*(weights + arguments), **options)
    assert (code, err) == (0, b"")
    return out.decode("utf-8").splitlines()


def test_one_picture_gives_one_line(weights, picture):
    code, out, err = run(*weights, picture)
    assert (code, err) == (0, b"")
    assert out in [("Prédiction: %s\n" % name).encode("utf-8") for name in CLASSES]


def test_it_runs_through_a_link_from_any_folder(weights, picture, tmp_path):
    os.symlink(PREDICT, str(tmp_path / "devine"))
    folder, name = os.path.split(picture)
    lines = run_command(sys.executable, "./devine", name, *weights, cwd=folder).stdout
    assert lines.startswith("Prédiction: ")


def test_no_argument_prints_the_usage(tmp_path):
    code, out, err = run()
    assert (code, out) == (2, b"")
    assert err.decode("utf-8").startswith("Utilisation : ./predict [options] IMAGE")


def test_help_is_french():
    code, out, err = run("--help", env=dict(LC_ALL="C"))
    assert (code, err) == (0, b"")
    text = out.decode("utf-8")
    assert "Dit ce que montre une image" in text
    assert not any(word in text for word in ("usage", "show", "exit", "positional"))


@pytest.mark.parametrize("arguments", [
    ["--top", "0", "a.png"], ["--top", "onze", "a.png"], ["--top", "²", "a.png"], ["--top"], ["--inconnu", "a.png"],
    ["--json=oui", "a.png"], ["--explain", "b.gif", "a.png"], ["--explain", "b.png", "a", "b"],
    ["--explain", "/nulle/part/b.png", "a.png"]])
def test_wrong_usage_is_told_in_french(arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, b"")
    usage, sentence = err.decode("utf-8").splitlines()
    assert usage.startswith("Utilisation : ") and sentence.startswith("Erreur: ")
    assert not any(word in sentence for word in ("argument", "invalid", "expected"))


def mistakes(folder):
    """Return (path, what its sentence says) of files that are no pictures."""
    text = folder / "notes.jpg"
    text.write_text("ceci n'est pas une image")
    (folder / "vide.png").write_bytes(b"")
    os.mkfifo(str(folder / "tube"))
    return [(str(folder / "absent.jpg"), "n'existe pas"), (str(folder), "est un dossier"),
            (str(text), "n'est pas une image"), (str(folder / "vide.png"), "est vide"),
            (str(folder / "tube"), "n'est pas un fichier ordinaire"),
            ("/dev/zero", "n'est pas un fichier ordinaire"),
            (str(text / "dedans"), "n'existe pas"), ("x" * 300, "le nom est trop long")]


def test_each_mistake_gets_a_sentence(tmp_path):
    for path, reason in mistakes(tmp_path):
        code, out, err = run(path)
        sentence, = err.decode("utf-8").splitlines()
        assert (code, out) == (1, b"")
        assert sentence.startswith("Erreur: %s " % path) and reason in sentence


def test_mistakes_do_not_import_tensorflow(tmp_path):
    """A TensorFlow that fails on import stands before the real one on the path."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('imported')")
    for path, reason in mistakes(tmp_path):
        code, out, err = run(path, env=dict(PYTHONPATH=str(tmp_path)))
        assert code == 1 and b"imported" not in err


def test_an_unreadable_file_gets_a_sentence(picture):
    os.chmod(picture, 0)
    if os.access(picture, os.R_OK):
        pytest.skip("permissions do not stop root")
    code, out, err = run(picture)
    assert (code, out) == (1, b"") and "permission" in err.decode("utf-8")


def test_without_weights_it_says_how_to_make_them(picture, tmp_path):
    code, out, err = run("--checkpoint-dir", str(tmp_path / "none"), picture)
    sentence, = err.decode("utf-8").splitlines()
    assert (code, out) == (2, b"")
    assert str(tmp_path / "none") in sentence and "python3 -m ex03_cifar.train" in sentence


def test_many_pictures_are_answered_in_order(weights, picture, tmp_path):
    bad = str(tmp_path / "absent.jpg")
    paths = [picture, bad] + [picture] * 40
    code, out, err = run(*weights, *paths)
    lines = out.decode("utf-8").splitlines()
    assert code == 1
    assert err.decode("utf-8") == "Erreur: %s n'existe pas.\n" % bad
    assert len(lines) == 41 and all(line.startswith(picture + ": Prédiction: ") for line in lines)


def test_standard_input_is_read(weights, picture):
    with open(picture, "rb") as stream:
        assert lines_of(weights, "-", stdin=stream) == lines_of(weights, picture)


def test_standard_input_that_is_slow_and_asked_for_twice_is_read_once(weights):
    done = run_command("sh", "-c", "(sleep 0.3; cat images/avion.jpg) | %s predict - - %s %s" % (
        (sys.executable,) + weights))
    first, second = done.stdout.splitlines()
    assert first == second and first.startswith("-: Prédiction: ") and done.stderr == ""


def test_json_holds_the_same_answer(weights, picture, tmp_path):
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


def test_a_name_cannot_break_the_lines(weights, picture, tmp_path):
    odd = os.path.join(os.fsencode(str(tmp_path)), b"a\xff\n\x1b[31mb.jpg")
    os.rename(picture, odd)
    code, out, err = run(*weights, odd, odd + b"?")
    assert code == 1 and out.count(b"\n") == 1 and err.count(b"\n") == 1
    assert b"\\n\\x1b[31mb.jpg: Pr" in out and b"\\n\\x1b[31mb.jpg? n'existe pas" in err


def test_top_adds_percentages(weights, picture):
    lines = lines_of(weights, "--top", "3", picture)
    assert len(lines) == 4 and lines[0].split()[1] == lines[1].split()[0]
    numbers = [float(line.split()[1].replace(",", ".")) for line in lines[1:]]
    assert numbers == sorted(numbers, reverse=True) and all(line[-1] == "%" for line in lines[1:])


def test_an_interrupt_while_it_reads_the_first_picture_is_quiet(weights):
    process = start_command(sys.executable, PREDICT, "-", stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(2)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


@released
@pytest.mark.parametrize("name", ["avion", "automobile", "bateau", "camion"])
def test_the_samples_are_answered_right(name):
    code, out, err = run(os.path.join(ROOT, "images", name + ".jpg"))
    assert (code, err) == (0, b"")
    assert out.decode("utf-8") == "Prédiction: %s\n" % name.capitalize()


@released
def test_every_encoding_is_answered_alike(tmp_path):
    files = encodings(photograph("avion"))
    assert len(files) >= 20
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = run(*[str(tmp_path / name) for name in files])
    assert (code, err) == (0, b"")
    assert [line.split(": ")[-1] for line in out.decode("utf-8").splitlines()] == ["Avion"] * len(files)


def test_damaged_files_get_an_answer_or_a_sentence(weights, tmp_path):
    """Thousands of files, each cut, with flipped bits or under another's header, in one call."""
    damaged = dict(mutations(formats(), MUTATIONS, np.random.RandomState(0)))
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = run("--json", *(weights + tuple(str(tmp_path / name) for name in damaged)))
    answers = [json.loads(line) for line in out.decode("utf-8").splitlines()]
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert code == 1
    assert [os.path.basename(answer["path"]) for answer in answers] == list(damaged)
    assert all(answer["name"] in CLASSES for answer in answers if "error" not in answer)
    assert err.decode("utf-8").splitlines() == ["Erreur: " + error for error in errors]
    assert 0 < len(errors) < len(damaged)


def test_explain_draws_a_picture(weights, picture, tmp_path):
    output = str(tmp_path / "why.png")
    assert len(lines_of(weights, "--explain", output, picture)) == 1
    with Image.open(output) as drawn:
        assert drawn.format == "PNG" and drawn.width > drawn.height > 300
    with open(picture, "rb") as stream:
        assert len(lines_of(weights, "--explain", output, "-", stdin=stream)) == 1


def test_explain_copes_with_a_strip(weights, tmp_path):
    Image.new("RGB", (3000, 3), "navy").save(str(tmp_path / "strip.png"))
    lines_of(weights, "--explain", str(tmp_path / "why.png"), str(tmp_path / "strip.png"))


def test_explain_does_not_overwrite_the_picture(picture, tmp_path):
    same = str(tmp_path / "same.png")
    os.rename(picture, same)
    code, out, err = run("--explain", same, same)
    assert (code, out) == (2, b"") and "écraserait" in err.decode("utf-8")


def test_without_matplotlib_explain_says_what_to_install(weights, picture, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    code, out, err = run("--explain", str(tmp_path / "why.png"), picture, *weights,
                         env=dict(PYTHONPATH=str(tmp_path)))
    sentence, = err.decode("utf-8").splitlines()
    assert (code, out) == (2, b"") and sentence.startswith("Erreur: il manque matplotlib à ")


@pytest.fixture
def bare(tmp_path):
    """A copy of ./predict in a folder of its own, run by a Python without any package."""
    shutil.copy(PREDICT, str(tmp_path / "predict"))
    return [sys.executable, "-S", "-E", str(tmp_path / "predict"), "a.jpg"]


def test_without_the_packages_it_says_what_to_install(bare):
    done = run_command(*bare)
    sentence, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence.startswith("Erreur: il manque ") and "requirements.txt" in sentence


def test_without_the_packages_it_takes_those_of_its_virtual_environment(bare, tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python3"
    python.write_text("#!/bin/sh\necho environment $2\n")
    python.chmod(0o755)
    done = run_command(*bare)
    assert (done.stdout, done.stderr) == ("environment a.jpg\n", "")


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
        stream = io.BytesIO()
        if mode == "I;16":
            image = Image.fromarray(np.full((height, width), rng.randint(65536), np.uint16))
        else:
            image = image.convert("L").convert("LA") if mode == "LA" else image.convert(mode)
        image.save(stream, kind)
        yield stream.getvalue()


def flat(kind, mode, size, **options):
    return saved(Image.new(mode, size, (9,) * len(Image.new(mode, (1, 1)).getbands())), kind, **options)


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
        yield flat("AVIF", "RGBA", (side, side // (1 if FULL else 2)), speed=10, subsampling="4:4:4")
    if not FULL:
        return
    yield png(side, side, 3, 8, half_transparent)
    yield png(side, side, 6, 16)
    yield png(side, side, 0, 16)
    for colour_type, bits in ((0, 8), (0, 1), (2, 8), (2, 16), (4, 8), (6, 8)):
        yield png(narrow[0], narrow[1], colour_type, bits)
    yield png(narrow[1], narrow[0], 6, 8)
    yield flat("WEBP", "RGBA", (side, side // 2), method=0)
    yield flat("JPEG", "RGB", (side, side), progressive=True, subsampling=0)
    yield flat("JPEG", "CMYK", (13000, 13000))
    yield flat("GIF", "P", (side, side))
    yield flat("TIFF", "F", (side, side), compression="tiff_lzw")
    yield run_length_bmp(2000)


# A process of its own: a child's peak begins with what its parent had when it was started.
PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status >> 8, usage.ru_maxrss // 1024, file=sys.stderr)
"""


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_any_picture_gets_a_prediction_or_a_sentence_in_bounded_memory_and_time(weights, tmp_path):
    """Sizes up to the limits and beyond, modes and formats; each takes at most 5 s of a core."""
    contents = [png(22000, 190, 2)] * (PICTURES // 2) + list(largest_pictures()) + list(
        hard_pictures(PICTURES, np.random.RandomState(1)))
    paths = [str(tmp_path / str(number)) for number in range(len(contents) + 2)]
    for path, content in zip(paths, contents):
        with open(path, "wb") as stream:
            stream.write(content)
    for path in paths[-2:]:  # a small picture in a file whose rest is empty: it is read whole
        with open(path, "wb") as stream:
            stream.write(flat("WEBP", "RGB", (64, 64)))
            stream.truncate(picture_reader.FILE_BYTES)
    done = run_command(sys.executable, "-c", PEAK, sys.executable, PREDICT, "--json", *weights, *paths)
    predictions = [json.loads(line) for line in done.stdout.splitlines()]
    code, megabytes = map(int, done.stderr.split())
    assert [prediction["path"] for prediction in predictions] == paths and code == 1
    assert all(("name" in prediction) != ("error" in prediction) for prediction in predictions)
    assert 0.4 < np.mean(["name" in prediction for prediction in predictions]) < 1
    assert megabytes < MEMORY
    for path in paths[PICTURES // 2 - 1:]:
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
    Image.new("RGB", (50, 40)).save(other)
    code, text = run_program("predict", [*weights, SAMPLE, other], str(output),
                             prepare=fail_on_large_pictures)
    assert code == 1 and "Erreur: %s est une image trop grande.\n" % SAMPLE in text
    assert text.splitlines()[-1].startswith(other + ": Prédiction: ")


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


def test_an_explanation_on_a_full_disk_is_a_sentence(weights, tmp_path):
    output = str(tmp_path / "why.png")
    code, text = run_program("predict", [*weights, "--explain", output, SAMPLE], str(tmp_path / "out"),
                             limits={"FSIZE": 20000})
    assert code == 1 and text.startswith("Prédiction: ") and os.listdir(str(tmp_path)) == ["out"]
    assert text.splitlines()[1:] == ["Erreur: %s ne peut pas être écrit (EFBIG)." % output]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_explanation_interrupted_at_random_moments_is_whole_or_not_there(weights, tmp_path, number):
    rng = random.Random(int(number))
    output, picture = str(tmp_path / "out"), tmp_path / "why.png"
    arguments = [*weights, "--explain", str(picture), SAMPLE]
    began = time.monotonic()
    assert run_program("predict", arguments, output)[0] == 0
    seconds, whole = time.monotonic() - began, picture.read_bytes()
    for _ in range(MOMENTS):
        picture.unlink()
        code, text = interrupt("predict", arguments, output, number, seconds=rng.uniform(0, seconds))
        assert code in (0, 128 + number, -number) and re.fullmatch(r"(Prédiction: \w+\n)?", text)
        assert set(os.listdir(str(tmp_path))) <= {"out", "why.png"}
        if not picture.exists():
            picture.write_bytes(whole)
        assert picture.read_bytes() == whole
