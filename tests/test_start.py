"""./predict starts on the smallest part of TensorFlow, and predicts as with all of it."""
import os
import sys

import pytest
from helpers import ROOT, run_command

PICTURES = [os.path.join(ROOT, "images", name + ".jpg") for name in ("avion", "bateau", "camion")]

PREDICT = """
import sys
sys.path.insert(0, {root!r})
from support import tf1
tf1.start_small()
if sys.argv[1] == "broken":  # half-way through
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


def predictions(way):
    """Return (the bits of all probabilities, whether the whole package was imported)."""
    done = run_command(sys.executable, "-c", PREDICT.format(root=ROOT), way, *PICTURES)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(sys.version_info < (3, 8), reason="TensorFlow 1.15 is built otherwise")
def test_each_way_gives_the_same_bits_without_a_word():
    """One way is the whole package, because the small one breaks off."""
    (small, small_package), (whole, whole_package) = map(predictions, ("small", "broken"))
    assert small == whole and len(small) == len(PICTURES) * 10 * 8
    assert (small_package, whole_package) == ("False", "True")
