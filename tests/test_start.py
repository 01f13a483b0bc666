"""./predict starts on the smallest part of TensorFlow, and predicts as with all of it."""
import glob
import json
import os
import sys

import pytest
from helpers import ROOT, run_command

SHARED = os.path.join(os.path.dirname(ROOT), "shared", "photos-everyday")
PHOTOS = sorted(glob.glob(os.path.join(SHARED, "*", "*.jpg")))[::60] or sorted(
    glob.glob(os.path.join(ROOT, "images", "*.jpg")))

PREDICT = """
import sys
sys.path.insert(0, {root!r})
from support import tf1
way = sys.argv[1]
if way != "public":
    tf1.start_small()
if way == "broken":  # half-way through
    small_tensorflow = tf1.small_tensorflow
    def break_off():
        small_tensorflow()
        raise ImportError("there is no such part")
    tf1.small_tensorflow = break_off
from ex03_cifar.classifier import Classifier
from ex03_cifar.views import picture_views
from support.picture import read_picture
views = [picture_views(read_picture(path, 96)) for path in sys.argv[2:]]
print(Classifier().predict(views).tobytes().hex())
print("tensorflow" in sys.modules)
"""

MODULES = """
import json, os, runpy, sys
leave = os._exit
def report(code):
    print(json.dumps(sorted(sys.modules)), flush=True)
    leave(code)
os._exit = report
sys.argv = ["predict", {picture!r}]
runpy.run_path({predict!r}, run_name="__main__")
"""


def predictions(way):
    """Return (the bits of all probabilities, whether the whole package was imported)."""
    done = run_command(sys.executable, "-c", PREDICT.format(root=ROOT), way, *PHOTOS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.15 is built otherwise")
def test_each_way_gives_the_same_bits_without_a_word():
    """One way is the public one because the small one breaks off."""
    (small, small_package), (public, _), (broken, broken_package) = map(
        predictions, ("small", "public", "broken"))
    assert small == public == broken and len(small) == len(PHOTOS) * 10 * 8
    assert (small_package, broken_package) == ("False", "True")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python does not list its own modules")
def test_start_up_imports_do_not_grow():
    done = run_command(sys.executable, "-c", MODULES.format(
        picture=os.path.join(ROOT, "images", "avion.jpg"), predict=os.path.join(ROOT, "predict")))
    line, modules = done.stdout.splitlines()
    assert line == "Prédiction: Avion"
    modules = json.loads(modules)
    packages = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert {name for name in packages if not name.startswith("_")} <= {
        "PIL", "absl", "ex03_cifar", "google", "ml_dtypes", "numpy", "packaging", "pybind11_abseil",
        "six", "support", "tensorflow", "typing_extensions", "wrapt"}
    assert len(modules) < 850
