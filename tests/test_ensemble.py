"""Several networks in one checkpoint predict as their mean does, wherever the first is in doubt."""
import os

import numpy as np
import pytest
from helpers import EVALUATE, generated_images, release, run, small_evaluation

from ex03_cifar import classifier as classifiers
from ex03_cifar import release as releases
from ex03_cifar.classifier import Classifier
from ex03_cifar.views import Views, first_only
from support import checkpoint

ENSEMBLE = "ex03_cifar.ensemble"
SHAPES = ((8, 16, 16), 2), ((4, 8, 8), 3), ((8, 16, 64), 2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders of three untrained networks, of an ensemble of two, and of one of all three."""
    folder = tmp_path_factory.mktemp("networks")
    alone = [str(folder / str(number)) for number in range(3)]
    for number, shape in enumerate(SHAPES):
        release(alone[number], number, *shape)
    two, three = str(folder / "two"), str(folder / "three")
    assert releases.put_together(alone[:2], two) == 2
    assert releases.put_together([two, alone[2]], three) == 3
    return alone, two, three


@pytest.fixture
def pictures():
    """Pictures of one view and of several, of two sizes, and one with further views."""
    images, rng = generated_images(7, seed=4)[0], np.random.RandomState(5)
    large = rng.randint(0, 256, (4, 40, 40, 3)).astype(np.uint8)
    return [first_only(images[:1]), Views(large[:1], large[1:]), first_only(images[1:7]),
            first_only(large[3:])]


@pytest.mark.parametrize("large_batch", [False, True])
def test_in_doubt_all_networks_and_all_views_are_averaged(
        folders, pictures, large_batch, monkeypatch):
    alone, two, three = folders
    members = [Classifier(path, exact=True) for path in alone]
    for count, folder in (1, alone[0]), (2, two), (3, three):
        together = Classifier(folder, exact=not large_batch, large_batch=large_batch)
        for threshold, asked, views in ((0.0, 1, [part.first for part in pictures]),
                                        (1.1, count, list(map(np.concatenate, pictures)))):
            monkeypatch.setattr(classifiers, "TTA_THRESHOLD", threshold)
            expected = [np.mean([one.average(one.view_logits(part), [len(part)])[0]
                                 for one in members[:asked]], axis=0) for part in views]
            np.testing.assert_allclose(
                together.predict(pictures), expected,
                atol=0.02 if together.precision == "bfloat16" else 1e-4)
        assert together.networks == count


def test_each_network_is_asked_only_about_pictures_that_are_still_in_doubt(
        folders, pictures, monkeypatch):
    members = [Classifier(path, exact=True) for path in folders[0]]
    every = [[one.average_views([part]) for one in members]
             for part in map(np.concatenate, pictures)]
    best = np.sort([np.mean(asked[:count], axis=0).max()
                    for asked in every for count in (1, 2, 3)])
    together, counts = Classifier(folders[2], exact=True), set()
    for threshold in ((best[1:] + best[:-1]) / 2)[np.diff(best) > 1e-4]:
        monkeypatch.setattr(classifiers, "TTA_THRESHOLD", float(threshold))
        expected = []
        for views, asked in zip(pictures, every):
            mean, count = members[0].average_views([views.first]), 0
            while mean.max() < threshold and count < 3:
                count += 1
                mean = np.mean(asked[:count], axis=0)
            expected.append(mean[0])
            counts.add(count)
        np.testing.assert_allclose(together.predict(pictures), expected, atol=1e-5)
    assert {0, 2, 3} <= counts


def test_only_pictures_in_doubt_are_shown_to_the_others_and_these_are_restored_for_them(
        folders, pictures, monkeypatch):
    together, asked = Classifier(folders[1], exact=True), []
    monkeypatch.setattr(classifiers, "TTA_THRESHOLD", 0.0)
    first = together.predict(pictures)
    assert not together._others
    doubtful, threshold = first.max(axis=1).argmin(), np.sort(first.max(axis=1))[:2].mean()
    monkeypatch.setattr(classifiers, "TTA_THRESHOLD", float(threshold))
    other = together.other(2)
    view_logits = other.view_logits
    monkeypatch.setattr(other, "view_logits", lambda views: (
        asked.append(len(views)), view_logits(views))[1])
    whole = together.predict(pictures)
    assert asked == [len(np.concatenate(pictures[doubtful]))]
    for place in set(range(len(pictures))) - {doubtful}:
        np.testing.assert_array_equal(whole[place], first[place])


def test_networks_that_were_replaced_meanwhile_are_not_mixed(folders, tmp_path):
    folder = str(tmp_path)
    releases.put_together(folders[0][:2], folder)
    early, late = Classifier(folder), Classifier(folder)
    early.other(2)
    releases.put_together(folders[0][1:], folder)
    with pytest.raises(checkpoint.CheckpointError, match="replaced while they were in use"):
        late.other(2)
    assert early.other(2) is early.other(2)
    Classifier(folder).other(2)


def test_the_command_writes_what_evaluate_reads_and_a_release_needs_a_history(
        folders, small_data, tmp_path, monkeypatch):
    folder, output = str(tmp_path / "together"), str(tmp_path / "out")
    code, text = run(ENSEMBLE, ["--checkpoint-dir", folder] + folders[0], output)
    assert code == 0 and "Saved 3 networks in %s." % folder in text and "./predict" in text
    code, text = run(EVALUATE, small_evaluation(small_data, folder), output)
    assert code == 0 and text.startswith("test accuracy"), text
    monkeypatch.setattr(releases, "RELEASE", str(tmp_path / "released"))
    with pytest.raises(checkpoint.CheckpointError, match="lists no file that ends in .*json"):
        releases.release(folder)
    assert not os.path.exists(releases.RELEASE)


def test_what_cannot_be_put_together_is_refused(folders, tmp_path):
    from ex02_fashion_cnn import RELEASE as FASHION
    folder, output = str(tmp_path / "together"), str(tmp_path / "out")
    for given, expected in ((folders[0][:1], "two or more"), ([FASHION] * 2, "another network's"),
                            ([folders[0][0], str(tmp_path)], "there is no complete checkpoint")):
        code, text = run(ENSEMBLE, ["--checkpoint-dir", folder] + given, output)
        assert code == 2 and expected in text, text
        assert not os.path.exists(folder)
