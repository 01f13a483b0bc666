"""What a hard tester tries: odd pictures, closed streams, full disks, signals, hostile surroundings.

docs/robustness.md is the list of what was attacked, and names the test of each.
"""
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import (EVALUATE, FULL, PREDICT, ROOT, SAMPLE, TRAIN, png, predict, run, run_command,
                     small_run, start, start_command)
from PIL import Image

from support import picture as reader
from support.picture import PictureError, read_picture
from ex03_cifar.views import picture_views

PICTURES = 300 if FULL else 60
MOMENTS = 50 if FULL else 4
MEMORY = 1200  # MB


# ---- Pictures ----

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
            whole = width * height <= reader.PIXELS and channels * largest < 2e8
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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def assert_read_in_time(paths):
    """Each picture is read, or refused, in 5 s of a core."""
    for path in paths:
        began = time.process_time()
        try:
            picture_views(read_picture(path, 96))
        except PictureError:
            pass
        assert time.process_time() - began < 5, path


def test_any_picture_is_answered_or_refused_in_bounded_memory(weights, tmp_path):
    paths = []
    for number, content in enumerate(hard_pictures(PICTURES, np.random.RandomState(1))):
        paths.append(str(tmp_path / ("%03d" % number)))
        with open(paths[-1], "wb") as stream:
            stream.write(content)
    strips = [str(tmp_path / ("strip%d" % number)) for number in range(PICTURES // 2)]
    (tmp_path / "strip0").write_bytes(png(22000, 190, 2))
    for strip in strips[1:]:
        os.symlink(strips[0], strip)
    output = tmp_path / "answers"
    with open(str(output), "wb") as stream:
        process = subprocess.Popen(
            [sys.executable, PREDICT, "--json", "--checkpoint-dir", weights] + paths + strips,
            stdout=stream, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert [answer["path"] for answer in answers] == paths + strips and status == 1 << 8
    assert all(("name" in answer) != ("error" in answer) for answer in answers)
    assert 0.4 < np.mean(["name" in answer for answer in answers]) < 1
    assert usage.ru_maxrss / 1024 < MEMORY

    assert_read_in_time(paths)


def test_a_progressive_jpeg_of_very_many_scans_is_refused(tmp_path):
    """Its scans are repeated by hand: each would be decoded over all pixels."""
    stream = io.BytesIO()
    Image.new("L", (5000, 5000)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    first = content.index(b"\xff\xda")
    scan = content[first:content.index(b"\xff", first + 2)]
    path = tmp_path / "scans.jpg"
    path.write_bytes(content[:-2] + scan * 2000 + content[-2:])
    began = time.process_time()
    with pytest.raises(PictureError, match="too large"):
        read_picture(str(path), 96)
    assert time.process_time() - began < 1


def test_an_error_while_views_are_made_is_that_pictures_own(weights, tmp_path):
    """Memory that runs out for one picture does not end the call."""
    program = ("import runpy, sys\n"
               "sys.path.insert(0, %r)\n"
               "import ex03_cifar.views as views\n"
               "whole = views.picture_views\n"
               "def fail(picture):\n"
               "    if picture.width > 60: raise MemoryError\n"
               "    return whole(picture)\n"
               "views.picture_views = fail\n"
               "sys.argv = ['predict'] + sys.argv[1:]\n"
               "runpy.run_path(%r, run_name='__main__')\n" % (ROOT, PREDICT))
    other = str(tmp_path / "other.png")
    Image.new("RGB", (50, 40)).save(other)
    done = run_command(sys.executable, "-c", program, "--checkpoint-dir", weights, SAMPLE, other)
    assert done.returncode == 1 and done.stdout.startswith(other + ": Prédiction: ")
    assert done.stderr == "Erreur: %s est une image trop grande.\n" % SAMPLE


# ---- Streams, disks, limits, surroundings ----

@pytest.mark.parametrize("closed", ["2>&-", "0<&-", "0<&- 2>&-", "1>&-", "0<&- 1>&- 2>&-"])
def test_predict_answers_with_closed_streams(weights, closed):
    command = "exec %s %s --checkpoint-dir %s %s %s" % (sys.executable, PREDICT, weights, SAMPLE, closed)
    done = run_command("bash", "-c", command)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("" if "1>" in closed else "Prédiction: ")


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-"])
def test_training_and_evaluation_run_with_closed_streams(small_data, tmp_path, closed):
    for module, arguments in ((TRAIN, small_run(small_data, str(tmp_path))),
                              ("ex03_cifar.evaluate", [
                                  "--checkpoint-dir", str(tmp_path), "--data-dir", small_data,
                                  "--confusion", str(tmp_path / "c.png"), "--images", "50"])):
        command = "exec %s -m %s %s %s" % (sys.executable, module, " ".join(arguments), closed)
        done = run_command("bash", "-c", command)
        assert done.returncode == 0 and done.stderr == "", module
    assert (tmp_path / "SHA256SUMS").exists() and (tmp_path / "c.png").exists()


def test_a_full_disk_costs_tensorboard_and_not_the_training(small_data, tmp_path, disk):
    folder = disk(40)
    code, text = run(TRAIN, small_run(small_data, str(tmp_path / "run"), logdir=folder),
                     str(tmp_path / "out"))
    assert "Traceback" not in text and "No space left on device" in text, text
    assert code == 0 and (tmp_path / "run" / "SHA256SUMS").exists() or "--logdir" in text


def test_a_full_disk_is_named_without_tensorflows_report(small_data, tmp_path, disk):
    folder = disk(60)
    code, text = run(TRAIN, small_run(small_data, folder), str(tmp_path / "out"))
    assert code == 1 and "No space left on device" in text and "Traceback" not in text
    assert "Graph execution error" not in text and "Detected at node" not in text
    left = [name for _, _, names in os.walk(folder) for name in names]
    assert not [name for name in left if "unfinished" in name or "tempstate" in name], left


@pytest.mark.parametrize("kilobytes", [1500000, 1800000])
def test_too_little_memory_is_a_sentence(weights, kilobytes):
    limits = {"AS": kilobytes * 1024}
    code, out, err = predict("--checkpoint-dir", weights, SAMPLE, limits=limits)
    assert (code, out) == (1, "") and err.startswith("Erreur: TensorFlow ne peut pas démarrer ici")
    done = run_command(sys.executable, "-m", EVALUATE, limits=limits)
    assert done.returncode == 1 and done.stderr.startswith("error: TensorFlow needs 2.0 GB")


def test_too_few_files_at_a_time_are_not_a_damaged_picture(weights):
    for files in (6, 8, 31):
        code, out, err = predict("--checkpoint-dir", weights, SAMPLE, limits={"NOFILE": files})
        assert (code, out) == (1, "") and err == (
            "Erreur: il faut pouvoir ouvrir 32 fichiers à la fois, et ulimit -n n'en permet que %d.\n"
            % files)
    code, out, err = predict("--checkpoint-dir", weights, *[SAMPLE] * 70, limits={"NOFILE": 32})
    assert (code, err, len(out.splitlines())) == (0, "", 70)


@pytest.mark.parametrize("changes", [
    dict(TF_USE_LEGACY_KERAS="0", KERAS_BACKEND="torch"), dict(MPLBACKEND="nonsense"),
    dict(MPLCONFIGDIR="/proc/none", TMPDIR="/proc/none"), dict(LC_ALL="C", PYTHONWARNINGS="error")],
    ids=lambda changes: " ".join(sorted(changes)))
def test_no_variable_of_the_environment_changes_the_answer(weights, tmp_path, changes):
    output = str(tmp_path / "why.png")
    code, out, err = predict("--checkpoint-dir", weights, "--explain", output, SAMPLE,
                             env=changes)
    assert (code, err) == (0, "") and out.startswith("Prédiction: ") and os.path.exists(output)


def test_a_matplotlibrc_in_the_current_folder_changes_no_pixel(weights, tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    pictures = []
    for folder in (tmp_path, ROOT):
        assert predict("--checkpoint-dir", weights, "--explain", str(tmp_path / "why.png"), SAMPLE,
                       cwd=str(folder))[0] == 0
        pictures.append((tmp_path / "why.png").read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("name", ["SHA256SUMS", "weights-0.index"])
def test_a_fifo_among_the_weights_is_not_waited_for(weights, tmp_path, name):
    folder = shutil.copytree(weights, str(tmp_path / "copy"))
    if name != "SHA256SUMS":
        name, = [found for found in os.listdir(folder) if found.endswith(".index")]
    os.remove(os.path.join(folder, name))
    os.mkfifo(os.path.join(folder, name))
    code, out, err = predict("--checkpoint-dir", folder, SAMPLE)
    assert (code, out) == (2, "") and name in err
    assert "--checkpoint-dir " + folder in err  # the advice fills this folder, not the released one


def test_a_fifo_among_the_data_is_not_waited_for(weights, tmp_path):
    os.mkfifo(str(tmp_path / "test_batch.bin"))
    code, text = run("ex03_cifar.evaluate", ["--checkpoint-dir", weights, "--data-dir", str(tmp_path)],
                     str(tmp_path / "out"), timeout=60)
    assert code == 1 and "test_batch.bin cannot be read" in text


# ---- Signals ----

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_stopped_at_random_moments_says_what_happened(small_data, tmp_path, number):
    rng = random.Random(number)
    reference = str(tmp_path / "reference")
    began = time.time()
    assert run(TRAIN, small_run(small_data, reference), str(tmp_path / "out"))[0] == 0
    seconds = time.time() - began
    folder = str(tmp_path / "run")
    for moment in range(MOMENTS):
        output = tmp_path / ("out%d" % moment)
        process = start(TRAIN, small_run(small_data, folder), str(output))
        while not output.exists():
            process.join(0.005)
        process.join(rng.uniform(0, seconds))
        if process.is_alive():
            os.kill(process.pid, number)
        process.join(60)
        text = output.read_text()
        assert "Traceback" not in text, text
        steps = [name for name in os.listdir(os.path.join(folder, "state")) if "step-" in name] \
            if os.path.isdir(os.path.join(folder, "state")) else []
        if process.exitcode == 0:
            assert "Released" in text and not steps
            shutil.rmtree(folder)
        else:
            assert process.exitcode in (130, -number), text
            assert ("Interrupted after step" not in text) or steps
    assert run(TRAIN, small_run(small_data, folder), str(tmp_path / "out"))[0] == 0
    for ending in (".index", ".data-00000-of-00001", ".meta"):
        first, second = [[open(os.path.join(where, name), "rb").read() for name in os.listdir(where)
                          if name.endswith(ending)] for where in (folder, reference)]
        assert first == second and len(first) == 1


def test_predict_stopped_at_random_moments_leaves_nothing_half_written(weights, tmp_path):
    rng = random.Random(0)
    output = str(tmp_path / "why.png")
    for _ in range(max(3, MOMENTS // 5)):
        process = start_command(sys.executable, PREDICT, "--checkpoint-dir", weights, "--explain", output, SAMPLE)
        time.sleep(rng.uniform(0.3, 4))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode in (0, 130) and err == ""
        assert set(os.listdir(str(tmp_path))) <= {"why.png"}
        if os.path.exists(output):
            with Image.open(output) as drawn:
                drawn.load()
            os.remove(output)


# ---- --explain and promises ----

def test_explain_writes_through_a_link_and_never_over_its_input(weights, tmp_path):
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    Image.open(SAMPLE).save(str(target))
    os.symlink(str(target), str(link))
    before = target.read_bytes()
    with open(str(target), "rb") as stream:
        code, out, err = predict("--explain", str(link), "-", stdin=stream)
    assert (code, out) == (2, "") and "écraserait" in err and target.read_bytes() == before
    assert predict("--checkpoint-dir", weights, "--explain", str(link), SAMPLE)[0] == 0
    assert os.path.islink(str(link)) and target.read_bytes() != before


def test_an_explanation_that_cannot_be_written_is_told_in_french(weights, tmp_path, disk):
    output = os.path.join(disk(20), "why.png")
    code, out, err = predict("--checkpoint-dir", weights, "--explain", output, SAMPLE)
    assert code == 1 and out.startswith("Prédiction: ") and os.listdir(os.path.dirname(output)) == []
    assert err == "Erreur: %s ne peut pas être écrit (ENOSPC).\n" % output


def test_a_run_that_is_kept_apart_leaves_images_alone(small_data, tmp_path):
    picture = os.path.join(ROOT, "images", "ex03_training.png")
    before = os.stat(picture).st_mtime_ns
    assert run(TRAIN, small_run(small_data, str(tmp_path / "run")), str(tmp_path / "out"))[0] == 0
    assert os.stat(picture).st_mtime_ns == before
    assert (tmp_path / "run" / "ex03_training.png").exists()


def test_another_number_of_cores_is_told(small_data, tmp_path):
    folder, output = str(tmp_path / "run"), tmp_path / "out"
    options = small_run(small_data, folder, **{"epochs": 20, "save-every": 600})
    command = [sys.executable, "-m", TRAIN] + options
    process = start_command(*command)
    for line in process.stdout:
        if line.startswith("epoch"):
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        pytest.skip("there is one core only")
    done = run_command(*command, preexec_fn=lambda: os.sched_setaffinity(0, {min(cores)}))
    assert done.returncode == 0
    assert "resumed on 1: the same to rounding, not bit for bit" in done.stdout
