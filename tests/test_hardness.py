"""What test_attacks.py leaves open: the largest pictures of each kind, every program in hard surroundings.

docs/robustness.md is the list of what was attacked, and names the test of each.
"""
import json
import os
import random
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import (BENCHMARK, EVALUATE, FULL, PREDICT, ROOT, SAMPLE, TRAIN, encodings, photograph, png,
                     predict, run, run_command, saved, small_benchmark, small_evaluation, small_run, start,
                     start_command)
from PIL import Image
from test_attacks import MEMORY, assert_read_in_time

from support import console
from support import picture as reader
from support.picture import read_picture

MOMENTS = 10 if FULL else 3
# A process of its own: a child's peak begins with what its parent had when it was started.
PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status >> 8, usage.ru_maxrss // 1024, file=sys.stderr)
"""


# ---- Pictures ----

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
    most, side = reader.PIXELS, 8192
    narrow = most // reader.SIDE, reader.SIDE
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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_largest_pictures_of_each_kind_stay_within_memory_and_time(weights, tmp_path):
    paths = []
    for number, content in enumerate(largest_pictures()):
        paths.append(str(tmp_path / str(number)))
        with open(paths[-1], "wb") as stream:
            stream.write(content)
    for number in range(2):  # a small picture in a file whose rest is empty: it is read whole
        paths.append(str(tmp_path / ("heavy%d" % number)))
        with open(paths[-1], "wb") as stream:
            stream.write(flat("WEBP", "RGB", (64, 64)))
            stream.truncate(reader.FILE_BYTES)
    done = run_command(sys.executable, "-c", PEAK, sys.executable, PREDICT, "--json",
                       "--checkpoint-dir", weights, *paths)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    code, megabytes = map(int, done.stderr.split())
    assert [answer["path"] for answer in answers] == paths and code == 1
    assert all(("name" in answer) != ("error" in answer) for answer in answers)
    assert megabytes < MEMORY
    assert_read_in_time(paths)


def test_what_is_reduced_by_bands_has_no_seams(tmp_path, monkeypatch):
    names = []
    for name, content in encodings(photograph().resize((401, 607))).items():
        (tmp_path / name).write_bytes(content)
        names.append(str(tmp_path / name))
    at_once = [np.asarray(read_picture(name, 96)) for name in names]
    monkeypatch.setattr(reader, "BAND_PIXELS", 401 * 40)
    for name, whole in zip(names, at_once):
        np.testing.assert_array_equal(read_picture(name, 96), whole, name)


# ---- Limits and surroundings ----

@pytest.mark.parametrize("gigabytes", [2.05, 2.4])
@pytest.mark.parametrize("module", [TRAIN, EVALUATE, BENCHMARK])
def test_memory_for_an_answer_only_is_a_sentence_for_the_other_programs(
        weights, small_data, tmp_path, module, gigabytes):
    arguments = {TRAIN: small_run(small_data, str(tmp_path)), EVALUATE: small_evaluation(
        small_data, weights)}.get(module, [])
    done = run_command(sys.executable, "-m", module, *arguments, limits={"AS": int(gigabytes * 1e9)})
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("error: TensorFlow needs ")
    assert done.stderr.count("\n") == 1 and "and 2.5 for all else" in done.stderr


def test_memory_that_runs_out_later_is_a_sentence(capsys):
    def main():
        raise MemoryError
    with pytest.raises(SystemExit) as end:
        console.run(main)
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("error: the memory does not suffice")


def test_many_pictures_in_little_memory_end_without_a_traceback(weights):
    code, out, err = predict("--checkpoint-dir", weights, *[SAMPLE] * 200, limits={"AS": 2003 * 10 ** 6})
    assert (code, err) in ((0, ""), (1, "Erreur: la mémoire ne suffit pas.\n"))


def test_without_room_for_a_temporary_file_predict_answers_and_the_others_say_so(
        weights, small_data, tmp_path):
    """No file may grow at all, in any folder."""
    nothing, chosen = {"FSIZE": 0}, ("--checkpoint-dir", weights, SAMPLE)
    code, out, err = predict(*chosen, limits=nothing)
    assert (code, err) == (0, "") and out.startswith("Prédiction: ")
    code, out, err = predict("--explain", str(tmp_path / "why.png"), *chosen, limits=nothing)
    assert code == 1 and out.startswith("Prédiction: ") and err.count("\n") == 1
    assert err.startswith("Erreur: TensorFlow ne peut pas démarrer ici")
    done = run_command(sys.executable, "-m", EVALUATE, *small_evaluation(small_data, weights), limits=nothing)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: TensorFlow cannot be imported: No usable")


@pytest.mark.parametrize("module", [TRAIN, EVALUATE])
def test_no_variable_of_the_environment_disturbs_the_programs_that_import_keras(
        weights, small_data, tmp_path, module):
    arguments = (small_run(small_data, str(tmp_path)) if module == TRAIN else
                 small_evaluation(small_data, weights, "--confusion", str(tmp_path / "c.png")))
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    done = run_command(
        sys.executable, "-m", module, *arguments, cwd=str(tmp_path), env=dict(
            PYTHONPATH=ROOT, TF_USE_LEGACY_KERAS="0", KERAS_BACKEND="torch", LC_ALL="C",
            MPLBACKEND="nonsense", MPLCONFIGDIR="/proc/none", TMPDIR="/proc/none",
            PYTHONWARNINGS="error"))
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert os.path.exists(str(tmp_path / ("c.png" if module == EVALUATE else "SHA256SUMS")))


# ---- Streams and disks ----

def redirected(module, arguments, streams):
    """Run a program with its descriptors led elsewhere; return its exit code."""
    return run(module, arguments, streams, prepare=small_benchmark)[0]


@pytest.mark.parametrize("module", [TRAIN, EVALUATE, BENCHMARK])
def test_each_stream_may_be_closed_in_each_program(weights, small_data, tmp_path, module):
    for closed in ((0,), (1,), (2,), (0, 1, 2)) if FULL else ((1,), (0, 1, 2)):
        talk = str(tmp_path / ("talk%d%d" % (closed[0], len(closed))))
        arguments = {TRAIN: small_run(small_data, str(tmp_path / "run")) + ["--fresh"],
                     EVALUATE: small_evaluation(small_data, weights, "--confusion", str(tmp_path / "c.png")),
                     BENCHMARK: ["--seconds", "1"]}[module]
        streams = {1: os.devnull, 2: talk}
        streams.update((number, None) for number in closed)
        assert redirected(module, arguments, streams) == 0
        assert not os.path.exists(talk) or "rror" not in open(talk).read()


@pytest.mark.parametrize("module", [TRAIN, EVALUATE, BENCHMARK])
def test_an_answer_on_a_full_disk_is_a_sentence(weights, small_data, tmp_path, module):
    arguments = {TRAIN: small_run(small_data, str(tmp_path / "run")),
                 EVALUATE: small_evaluation(small_data, weights, "--confusion", str(tmp_path / "c.png")),
                 BENCHMARK: ["--seconds", "1"]}[module]
    assert redirected(module, arguments, {1: "/dev/full", 2: str(tmp_path / "talk")}) == 1
    assert (tmp_path / "talk").read_text().endswith("error: No space left on device.\n")


def test_an_evaluation_whose_reader_goes_away_ends_quietly(weights, small_data, tmp_path):
    command = "exec %s -m %s %s | head -5; exit ${PIPESTATUS[0]}" % (
        sys.executable, EVALUATE, " ".join(small_evaluation(
            small_data, weights, "--confusion", str(tmp_path / "c.png"))))
    done = run_command("bash", "-c", command)
    assert done.returncode == 141 and done.stderr == "" and done.stdout.count("\n") == 5


@pytest.mark.parametrize("module, option", [(TRAIN, "output_dir"), (EVALUATE, "confusion")])
def test_a_picture_that_cannot_be_drawn_is_a_sentence_and_leaves_nothing(
        weights, small_data, tmp_path, disk, module, option):
    full = disk(8)
    for folder in (full, "/proc/none"):
        output = os.path.join(folder, "ex03_training.png")
        arguments = (small_run(small_data, str(tmp_path / "run"), output_dir=folder) if module == TRAIN
                     else small_evaluation(small_data, weights, "--confusion", output))
        code, text = run(module, arguments, str(tmp_path / "out"))
        assert code == 1 and "error: %s cannot be written: " % output in text
        assert "Traceback" not in text and os.listdir(full) == []
    assert module == EVALUATE or (tmp_path / "run" / "SHA256SUMS").exists()


# ---- Signals ----

@pytest.mark.parametrize("number", [2, 15], ids=["SIGINT", "SIGTERM"])
def test_an_evaluation_stopped_at_random_moments_leaves_no_half_picture(
        weights, small_data, tmp_path, number):
    rng = random.Random(number)
    picture = tmp_path / "c.png"
    arguments = small_evaluation(small_data, weights, "--confusion", str(picture))
    reference = run(EVALUATE, arguments, str(tmp_path / "out"))
    whole = picture.read_bytes()
    for _ in range(MOMENTS):
        picture.unlink()
        process = start(EVALUATE, arguments, str(tmp_path / "out"))
        process.join(rng.uniform(0.05, 1.5))
        if process.is_alive():
            os.kill(process.pid, number)
        process.join(60)
        assert process.exitcode in (0, 130, -number)
        assert "Traceback" not in (tmp_path / "out").read_text()
        assert set(os.listdir(str(tmp_path))) <= {"out", "c.png"}
        assert not picture.exists() or picture.read_bytes() == whole
        assert run(EVALUATE, arguments, str(tmp_path / "out")) == reference


def test_predict_terminated_at_random_moments_leaves_no_temporary_folder(weights, tmp_path):
    """Nor matplotlib's, which it makes where it finds no other for its cache."""
    rng = random.Random(0)
    folder, output = tmp_path / "temporary", tmp_path / "why.png"
    folder.mkdir()
    environment = dict(TMPDIR=str(folder), HOME="/proc/none", MPLCONFIGDIR="/proc/none")
    command = [sys.executable, PREDICT, "--checkpoint-dir", weights, "--explain", str(output), SAMPLE]
    began = time.monotonic()
    assert run_command(*command, env=environment).returncode == 0
    seconds, whole = time.monotonic() - began, output.read_bytes()
    for _ in range(MOMENTS):
        output.unlink()
        process = start_command(*command, env=environment)
        time.sleep(rng.uniform(0.5, 1) * seconds)
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 143, -15) and err == ""
        assert os.listdir(str(folder)) == [] and set(os.listdir(str(tmp_path))) <= {
            "temporary", "why.png"}
        if process.returncode:
            assert run_command(*command, env=environment).returncode == 0
        assert output.read_bytes() == whole


def test_ctrl_c_after_the_last_epoch_says_what_happened(small_data, tmp_path):
    """The state is saved then, and the weights are about to be released, or are."""
    rng = random.Random(0)
    reference, folder, output = tmp_path / "reference", tmp_path / "run", tmp_path / "out"
    assert run(TRAIN, small_run(small_data, str(reference)), str(output))[0] == 0
    seals = []
    for moment in range(2 * MOMENTS):
        output.write_text("")
        process = start(TRAIN, small_run(small_data, str(folder)) + ["--fresh"], str(output))
        while process.is_alive() and "epoch  3" not in output.read_text():
            process.join(0.005)
        process.join(rng.uniform(0, 0.7) if moment else 0)
        if process.is_alive():
            os.kill(process.pid, 2)
        process.join(60)
        text = output.read_text()
        assert "Traceback" not in text and "Interrupted" not in text
        assert (process.exitcode, "Released" in text) in ((0, True), (130, False), (-2, False))
        seals.append((folder / "SHA256SUMS").read_text())
        assert os.listdir(str(folder / "state")) == ["lock"]
    assert set(seals) == {(reference / "SHA256SUMS").read_text()}


# ---- Promises ----

def test_the_evaluation_of_a_run_that_is_kept_apart_leaves_images_alone(
        weights, small_data, tmp_path):
    picture = os.path.join(ROOT, "images", "ex03_confusion.png")
    before = os.stat(picture).st_mtime_ns
    code, text = run(EVALUATE, small_evaluation(small_data, weights), str(tmp_path / "out"))
    assert code == 0 and os.stat(picture).st_mtime_ns == before
    assert text.endswith("drew %s\n" % os.path.join(weights, "ex03_confusion.png"))


def test_git_clean_removes_the_weights_of_a_run_of_ones_own():
    """As the README advises: what .gitignore hides would stay."""
    if not os.path.isdir(os.path.join(ROOT, ".git")):
        pytest.skip("this is no clone")
    for name in ("weights-0123456789ab.index", "SHA256SUMS", "weights-0123456789ab.meta"):
        assert subprocess.call(["git", "check-ignore", "-q", "checkpoints/cifar10/" + name],
                               cwd=ROOT) == 1
