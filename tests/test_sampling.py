"""Which images an epoch sees, given the losses."""
from dataclasses import replace

import numpy as np
import pytest
from helpers import generated_images

from ex03_cifar import sampling
from ex03_cifar.recipes import Recipe

RECIPE = Recipe(images=1100, validation=100, epochs=6, batch_size=100, seed=3,
                selection_start=0.5)  # three epochs of 1,000 images, three of 600


@pytest.fixture
def samples():
    """What a run remembers of 1,000 images, at its beginning."""
    return sampling.new_samples(1000)


def epochs(samples, recipe, losses):
    """Return (the indices seen, whether each image is flipped) of each epoch, at such losses."""
    seen = []
    for epoch in range(recipe.epochs):
        samples.update(sampling.begin_epoch(samples, recipe, epoch))
        assert sorted(samples["order"]) == list(range(1000))
        seen.append((samples["order"][:1000 if epoch < 3 else 600], samples["flipped"]))
        samples["losses"] = losses
    return seen


def test_later_epochs_see_the_hard_examples_and_some_of_the_others(samples):
    losses = np.random.RandomState(0).rand(1000)
    hardest = set(np.argsort(losses)[500:])
    seen = epochs(samples, RECIPE, losses)
    assert [len(set(order)) for order, _ in seen] == [1000] * 3 + [600] * 3
    others = [set(order) - hardest for order, _ in seen[3:]]
    for (order, _), more in zip(seen[3:], others):
        assert hardest < set(order) and len(more) == 100
        assert not np.array_equal(order, np.sort(order))
    assert len(set.union(*others)) > 220  # of 300 draws from 500; one fixed hundred would be 100
    assert not np.array_equal(seen[3][0], seen[4][0])


def test_an_image_is_flipped_every_other_time_that_it_is_seen(samples):
    last, count = {}, 0
    for order, flipped in epochs(samples, RECIPE, np.random.RandomState(0).rand(1000)):
        assert 0.4 < flipped[order].mean() < 0.6
        for image in order:
            assert last.get(image) != flipped[image]
            last[image] = flipped[image]
            count += 1
    assert count == 3 * 1000 + 3 * 600


def test_images_that_were_never_trained_on_come_first(samples):
    samples["losses"][:900] = 50.0
    order = sampling.select(samples["losses"], np.random.RandomState(0), size=150, random_images=50)
    assert set(range(900, 1000)) < set(order[:150])


def test_the_seed_decides(samples):
    first, again, other = [
        sampling.begin_epoch(samples, replace(RECIPE, seed=seed), 0)["order"].tolist()
        for seed in (3, 3, 4)]
    assert first == again != other


def test_a_training_step_remembers_the_loss_of_its_images():
    from ex03_cifar import graph as training
    from ex03_cifar.train import train_step
    from support.run_state import Saved
    from support.tf1 import tf
    images, labels = generated_images(50, seed=1)
    chosen = np.random.RandomState(0).permutation(80)[:50]
    saved = Saved(0, {"sums": [0, 0, 0]}, sampling.new_samples(80))
    with tf.Graph().as_default() as graph:
        kernel = np.random.RandomState(1).normal(size=(2, 2, 3, 24)).astype(np.float32)
        model = training.build(Recipe(widths=(8, 16, 16)), 1, kernel)
        with tf.Session(graph=graph) as session:
            session.run(model.initialise)
            train_step(session, model, saved, chosen, {
                model.images: images, model.labels: labels, model.targets: np.eye(10)[labels]})
    losses = saved.arrays["losses"][chosen]
    sums = saved.notes["sums"]
    assert saved.step == 1 and sums[2] == 50 and losses.std() > 0
    assert losses.mean() == pytest.approx(sums[0] / 50, rel=1e-5)
    others = np.setdiff1d(np.arange(80), chosen)
    assert np.array_equal(saved.arrays["losses"][others], sampling.new_samples(30)["losses"])
