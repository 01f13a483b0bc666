"""What a program checks first: Python's version, packages, Ctrl-C before anything is imported."""
import os
import pathlib
import shutil
import sys

import pytest
from helpers import ROOT, run_command

from support import tf1

# In one language each; that all programs check before they import is what the last test shows.
PROGRAMS = ["ex02_fashion_cnn.py"], ["predict", "images/avion.jpg"]
OTHERS = (["ex01_filters.py"], ["-m", "ex03_cifar.train"], ["-m", "ex03_cifar.evaluate"],
          ["tools/draw_course.py"])


def prelude(folder, code):
    """Return the change to the environment by which every Python runs `code` before its program."""
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def clone(tmp_path):
    """A copy of the programs in a folder without a virtual environment of its own."""
    without = shutil.ignore_patterns(".*", "checkpoints", "docs", "images", "tests")
    return pathlib.Path(shutil.copytree(ROOT, str(tmp_path / "clone"), ignore=without))


@pytest.mark.parametrize("program, version", zip(PROGRAMS, [(3, 9, 18), (3, 6, 15)]), ids=str)
def test_a_python_without_tensorflow_names_those_that_have_it(program, version, clone):
    without = "sys.modules.update(dataclasses=None)" if version == (3, 6, 15) else ""
    done = run_command(sys.executable, *program, cwd=str(clone), env=prelude(
        clone, "import sys; sys.version_info = %r; %s" % (version, without)))
    sentence, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert "3.%d" % version[1] in sentence and "3.10, 3.11, 3.12" in sentence, sentence


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_without_packages_it_says_what_to_install_or_resumes_in_the_repositorys_environment(
        program, clone):
    done = run_command(sys.executable, "-S", *program, cwd=str(clone))
    sentence, = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert "numpy" in sentence and "-m pip install -r %s" % clone in sentence
    python = clone / ".venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\necho heard >&2\n')
    python.chmod(0o755)
    done = run_command(sys.executable, "-S", *program, cwd=str(clone))
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "heard\n", program)


@pytest.mark.parametrize("program", PROGRAMS + OTHERS, ids=" ".join)
def test_ctrl_c_while_numpy_is_imported_is_quiet(program, tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    done = run_command(sys.executable, *program, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_pip_refuses_pythons_without_tensorflow():
    """Exactly one TensorFlow is required of each Python; of 3.8 and 3.9 it is one they lack."""
    packaging = pytest.importorskip("packaging.requirements")
    with open(os.path.join(ROOT, "requirements.txt")) as stream:
        lines = [packaging.Requirement(line.strip()) for line in stream if line[0] != "#"]

    def required(version, platform="linux"):
        place = {"python_version": version, "sys_platform": platform, "platform_machine": "x86_64"}
        return [str(line.specifier) for line in lines
                if line.name == "tensorflow" and line.marker.evaluate(place)]
    assert required("3.7") == ["==1.15.5"] and required("3.12", "darwin") == ["==2.16.2"]
    for version in "3.6", "3.8", "3.9", "3.10", "3.13", "3.14":
        assert required(version) == ["==2.21.*"]


# ---- The processor, as far as a system tells ----

@pytest.mark.parametrize("cpuinfo, features", [
    ("model name\t: avx flags\nflags\t\t: fpu avx\n", {"fpu", "avx"}),
    ("Features\t: fp asimd bf16\n", set()), ("", set())], ids=["x86-64", "ARM", "nothing"])
def test_features_are_those_of_an_x86_processor(cpuinfo, features, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(tf1, "open", lambda _, **more: (tmp_path / "cpuinfo").open(), raising=False)
    assert tf1.processor_features.__wrapped__() == features


@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.15 computes no bfloat16")
@pytest.mark.parametrize("features, changes, chosen", [
    ({"amx_bf16"}, {}, "bfloat16"), ({"amx_bf16"}, {"TF_ENABLE_ONEDNN_OPTS": "0"}, "float32"),
    ({"amx_bf16"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "float32"),
    ({"avx2"}, {}, "float32"), (set(), {}, "float32")])
def test_bfloat16_is_chosen_where_onednn_computes_it(features, changes, chosen, monkeypatch):
    monkeypatch.setattr(tf1, "processor_features", lambda: features)
    for variable in "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA":
        monkeypatch.setenv(variable, changes.get(variable, ""))
    assert tf1.fastest("bfloat16") == chosen and tf1.fastest("float32") == "float32"


def test_a_processor_without_avx_is_a_sentence_before_tensorflow_is_imported(monkeypatch):
    monkeypatch.setattr(tf1, "processor_features", set)  # unknown
    tf1._prepare(0)
    monkeypatch.setattr(tf1, "processor_features", lambda: {"sse4_2"})
    with pytest.raises(tf1.CannotStart, match="AVX") as refused:
        tf1._prepare(0)
    assert refused.value.problem == "processor"


@pytest.mark.parametrize("features, chosen, used", [
    ({"avx", "avx2"}, None, "1"), ({"avx", "avx2"}, "0", "0"), ({"avx"}, None, None)])
def test_onednn_is_used_with_avx2_unless_the_user_says_otherwise(
        features, chosen, used, monkeypatch):
    monkeypatch.setattr(tf1, "processor_features", lambda: features)
    monkeypatch.setattr(os, "environ", {"TF_ENABLE_ONEDNN_OPTS": chosen} if chosen else {})
    tf1._prepare(0)
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == used
