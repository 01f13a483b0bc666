"""./predict as people run it: real files, real TensorFlow, a process of its own each time."""
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import PREDICT, ROOT, encodings, formats, mutations, photograph, predict, release, run_command, start_command
from PIL import Image


CLASSES = ("Avion", "Automobile", "Oiseau", "Chat", "Cerf",
           "Chien", "Grenouille", "Cheval", "Bateau", "Camion")
RELEASE = os.path.join(ROOT, "checkpoints", "cifar10")
MUTATIONS = 2000
MEMORY = 1500  # MB

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


@pytest.mark.parametrize("changes", [
    dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), dict(PYTHONIOENCODING="ascii")])
def test_the_answer_is_utf8_in_any_locale(weights, picture, changes):
    assert lines_of(weights, picture, env=dict(**changes))[0].startswith("Prédiction: ")


def test_a_program_that_uses_tensorflow_can_start_it(weights, picture):
    """TensorFlow leaves its choice of behaviour to its children, in the environment."""
    assert lines_of(weights, picture, env=dict(TF2_BEHAVIOR="1"))


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


def test_a_closed_pipe_ends_it_quietly(weights, picture):
    reader, writer = os.pipe()
    os.close(reader)
    assert run(*weights, *[picture] * 3, stdout=writer)[2] == b""
    os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_answer_that_cannot_be_written_is_a_sentence(weights, picture):
    with open("/dev/full", "wb") as full:
        code, _, err = predict(picture, *weights, stdout=full)
    assert (code, err) == (1, "Erreur: la réponse ne peut pas être écrite (ENOSPC).\n")


def test_control_c_ends_it_quietly(weights, picture):
    process = start_command(sys.executable, PREDICT, *weights, *[picture] * 3)
    while process.poll() is None:  # until it loads TensorFlow, however fast the machine is
        with open("/proc/%d/maps" % process.pid) as maps:
            if "tensorflow" in maps.read():
                break
    process.send_signal(2)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


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


def test_large_pictures_take_bounded_memory(weights, picture, tmp_path):
    large = Image.linear_gradient("L").resize((8000, 8000))
    rgba = Image.merge("RGBA", [large] * 4)
    rgba.save(str(tmp_path / "large.png"), compress_level=1)
    rgba.convert("RGB").save(str(tmp_path / "large.jpg"), progressive=True, subsampling=0)
    del rgba
    paths = [picture] + [str(tmp_path / ("large." + end)) for end in ("png", "jpg")] * 2
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, PREDICT] + list(weights) + paths)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0
    assert usage.ru_maxrss / 1024 < MEMORY


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


def test_explain_is_quiet_where_matplotlib_cannot_keep_its_cache(weights, picture, tmp_path):
    changes = dict(MPLCONFIGDIR="/proc/nowhere", HOME="/proc/nowhere")
    assert len(lines_of(weights, "--explain", str(tmp_path / "why.png"), picture,
                        env=dict(**changes))) == 1


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
