"""A finished training becomes a release with all that belongs to it, or nothing changes."""
import os

import pytest
from helpers import EVALUATE, TRAIN, release, run, small_evaluation, small_run

from ex03_cifar import release as releases
from support import checkpoint


def names(folder):
    return sorted(name.partition(".")[2] for name in os.listdir(folder) if "weights" in name)


def test_a_release_has_weights_graph_and_history_and_its_curves_can_be_drawn(
        small_data, tmp_path, monkeypatch, capsys):
    trained, released = str(tmp_path / "run"), str(tmp_path / "released")
    code, text = run(TRAIN, small_run(small_data, trained))
    assert code == 0, text
    monkeypatch.setattr(releases, "RELEASE", released)
    releases.release(trained)
    assert "--output-dir images" in capsys.readouterr().out
    assert names(released) == names(trained) == ["data-00000-of-00001", "index", "json",
                                                 "large.meta", "meta"]
    for name in os.listdir(released):
        with open(os.path.join(released, name), "rb") as one:
            with open(os.path.join(trained, name), "rb") as other:
                assert one.read() == other.read()
    os.remove(os.path.join(trained, "ex03_training.png"))
    code, text = run(EVALUATE, small_evaluation(small_data, trained))
    assert code == 0 and "Drew %s" % os.path.join(trained, "ex03_training.png") in text


def test_what_is_not_this_network_is_not_released(tmp_path, monkeypatch):
    from ex02_fashion_cnn import RELEASE
    monkeypatch.setattr(releases, "RELEASE", str(tmp_path))
    with pytest.raises(checkpoint.CheckpointError) as refused:
        releases.release(RELEASE)
    assert refused.value.problem == "foreign" and os.listdir(str(tmp_path)) == []


def test_weights_without_a_history_are_evaluated_without_curves(tmp_path):
    release(str(tmp_path / "weights"))
    assert not releases.draw_curves(str(tmp_path / "weights"), str(tmp_path / "curves.png"))
    assert not (tmp_path / "curves.png").exists()
