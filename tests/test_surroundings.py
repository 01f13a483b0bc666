"""Every program in hard surroundings: streams, memory, open files, the environment.

tests/README.md is the list of what was attacked, and names the test of each.
"""
import os
import re
import signal
import sys

import pytest
from helpers import (EVALUATE, FULL, PREDICT, ROOT, SAMPLE, TRAIN, predict, run, run_command,
                     small_evaluation, small_run, start)

PROGRAMS = ("predict", "ex02_fashion_cnn", "ex01_filters", TRAIN, EVALUATE)
every_program = pytest.mark.parametrize("program", PROGRAMS[:5 if FULL else 2])


@pytest.fixture
def arguments(small_data, small_fashion, weights, tmp_path):
    """The arguments of something short for each program, a dict."""
    drawn = ["--output-dir", str(tmp_path)]
    return {
        "predict": ["--checkpoint-dir", weights, SAMPLE],
        "ex01_filters": drawn,
        "ex02_fashion_cnn": ["--evaluate", "--data-dir", str(small_fashion)] + drawn,
        TRAIN: small_run(small_data, str(tmp_path / "run")) + drawn + ["--fresh"],
        EVALUATE: small_evaluation(small_data, weights) + drawn}


def command(program):
    """Return the beginning of the command line that starts a program."""
    if program == "predict":
        return [sys.executable, PREDICT]
    return [sys.executable, "-m", program]


# ---- Streams ----

@every_program
def test_closed_streams_lead_nowhere(arguments, tmp_path, program):
    """Nothing fails, and nothing is written into a file that got the number of a closed one."""
    for closed in ((0, 1, 2), (0,), (1,), (2,))[:4 if FULL else 1]:
        streams = {1: os.devnull, 2: str(tmp_path / "log")}
        streams.update((number, None) for number in closed)
        assert run(program, arguments[program], streams)[0] == 0
        assert 2 in closed or "rror" not in (tmp_path / "log").read_text()


@every_program
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout_is_a_sentence(arguments, tmp_path, program):
    streams = {1: "/dev/full", 2: str(tmp_path / "log")}
    assert run(program, arguments[program], streams)[0] == 1
    assert (tmp_path / "log").read_text().splitlines()[-1] == (
        "Erreur: le système refuse l'accès à un fichier (ENOSPC)." if program == "predict"
        else "error: No space left on device.")


@every_program
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_reader_that_goes_away_ends_the_program_quietly(arguments, tmp_path, program):
    """As `| head -1` does; it is not blamed on a picture that was about to be drawn."""
    os.mkfifo(str(tmp_path / "pipe"))
    reader = os.open(str(tmp_path / "pipe"), os.O_RDONLY | os.O_NONBLOCK)
    process = start(program, arguments[program],
                    {1: str(tmp_path / "pipe"), 2: str(tmp_path / "log")})
    os.close(reader)
    process.join(120)
    assert process.exitcode in (128 + signal.SIGPIPE, -signal.SIGPIPE)
    assert "rror" not in (tmp_path / "log").read_text()


# ---- Limits ----

@pytest.mark.parametrize("program, gigabytes", [("predict", 1.8), (EVALUATE, 2.4)])
def test_too_little_memory_is_a_sentence(arguments, program, gigabytes):
    """TensorFlow itself would try for ever, or abort."""
    done = run_command(*command(program) + arguments[program], limits={"AS": int(gigabytes * 1e9)})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Erreur: TensorFlow ne peut pas démarrer ici" if program == "predict"
                                  else "error: TensorFlow needs ")


@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.15 needs more to start")
def test_memory_that_runs_out_among_many_pictures_is_a_sentence(weights):
    code, out, err = predict("--checkpoint-dir", weights, *[SAMPLE] * 200,
                             limits={"AS": 2003 * 10 ** 6})
    assert (code, err) in ((0, ""), (1, "Erreur: la mémoire ne suffit pas.\n"))


def test_too_few_open_files_are_not_a_damaged_picture(weights):
    code, out, err = predict("--checkpoint-dir", weights, SAMPLE, limits={"NOFILE": 6})
    assert (code, out, err.count("\n")) == (1, "", 1) and err.endswith(" (EMFILE).\n")
    code, out, err = predict("--checkpoint-dir", weights, *[SAMPLE] * 70, limits={"NOFILE": 32})
    assert (code, err, len(out.splitlines())) == (0, "", 70)


@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.15 needs a temporary file")
def test_without_room_for_any_file_predict_answers_and_the_others_say_so(arguments):
    nothing = {"FSIZE": 0}
    code, out, err = predict(*arguments["predict"], limits=nothing)
    assert (code, err) == (0, "") and out.startswith("Prédiction: ")
    done = run_command(*command(EVALUATE) + arguments[EVALUATE], limits=nothing)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("error: TensorFlow cannot be imported: No usable")


# ---- The environment ----

HOSTILE = dict(
    TF_USE_LEGACY_KERAS="0", KERAS_BACKEND="torch", TF2_BEHAVIOR="1", LC_ALL="C", PYTHONUTF8="0",
    PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii", PYTHONWARNINGS="error", MPLBACKEND="nonsense",
    MPLCONFIGDIR="/proc/none", TMPDIR="/proc/none", HOME="/proc/none")
if sys.version_info < (3, 8):
    del HOSTILE["PYTHONWARNINGS"]  # TensorFlow 1.15 itself imports what is deprecated


@every_program
def test_no_variable_of_the_environment_disturbs(arguments, tmp_path, program):
    """Nor a matplotlibrc in the current folder."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    more = ["--explain", str(tmp_path / "why.png")] if program == "predict" else []
    done = run_command(*command(program) + arguments[program] + more, cwd=str(tmp_path),
                       env=dict(HOSTILE, PYTHONPATH=ROOT))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert program != "predict" or done.stdout.startswith("Prédiction: ") and done.stderr == ""
    assert list(tmp_path.glob("*.png"))


# ---- The list of attacks ----

def test_the_list_of_attacks_names_tests_that_exist():
    with open(os.path.join(ROOT, "tests", "README.md"), encoding="utf-8") as stream:
        rows = [line for line in stream if line.startswith("|")][2:]
    assert len(rows) > 30
    for row in rows:
        cell, source = row.split(" | ")[-1], ""
        assert "test_" in cell, row
        for module, name in re.findall(r"`(test_\w+\.py)?(?:::)?(test_\w+)?`", cell):
            if module:
                with open(os.path.join(ROOT, "tests", module), encoding="utf-8") as stream:
                    source = stream.read()
            assert "def %s(" % name in source or not name, row
