"""Which images an epoch sees, against what the losses say, in a graph that does nothing else."""
import numpy as np
import pytest

from conftest import generated_images

from ex03_cifar import graph as training
from ex03_cifar import sampling
from ex03_cifar.recipes import RECIPES
from ex03_cifar.tf1 import tf

OPTIONS = dict(images=1100, validation=100, epochs=6, batch_size=100, seed=3,
               harder=[0.5, 0.5, 0.1])  # three epochs of 1,000 images, three of 600


@pytest.fixture
def samples():
    """Return (session, variables) of a run of 1,000 images."""
    with tf.Graph().as_default() as graph:
        variables = sampling.sample_variables(1000)
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            yield session, variables


def epochs(session, variables, options, losses):
    """Return (the indices seen, whether each image is mirrored) of each epoch, at such losses."""
    seen = []
    for epoch in range(options["epochs"]):
        sampling.begin_epoch(session, variables, options, epoch)
        order, mirrored = session.run([variables.order, variables.mirrored])
        assert sorted(order) == list(range(1000))
        seen.append((order[:1000 if epoch < 3 else 600], mirrored))
        variables.losses.load(losses, session)
    return seen


def test_later_epochs_see_the_hardest_images_and_some_of_the_others(samples):
    losses = np.random.RandomState(0).rand(1000)
    hardest = set(np.argsort(losses)[500:])
    seen = epochs(*samples, options=OPTIONS, losses=losses)
    assert [len(set(order)) for order, _ in seen] == [1000] * 3 + [600] * 3
    others = [set(order) - hardest for order, _ in seen[3:]]
    for (order, _), more in zip(seen[3:], others):
        assert hardest < set(order) and len(more) == 100
        assert not np.array_equal(order, np.sort(order))
    assert len(set.union(*others)) > 220  # of 300 draws from 500; one fixed hundred would be 100
    assert not np.array_equal(seen[3][0], seen[4][0])


def test_an_image_is_mirrored_every_other_time_that_it_is_seen(samples):
    seen = epochs(*samples, options=OPTIONS, losses=np.random.RandomState(0).rand(1000))
    last, count = {}, 0
    for order, mirrored in seen:
        assert 0.4 < mirrored[order].mean() < 0.6
        for image in order:
            assert last.get(image) != mirrored[image]
            last[image] = mirrored[image]
            count += 1
    assert count == 3 * 1000 + 3 * 600


def test_images_that_were_never_trained_on_come_first(samples):
    session, variables = samples
    losses = session.run(variables.losses)
    losses[:900] = 50.0
    order = sampling.harder(losses, np.random.RandomState(0), size=150, others=50)
    assert set(range(900, 1000)) < set(order[:150])


def test_the_seed_decides(samples):
    first, again, other = [
        epochs(*samples, options=dict(OPTIONS, seed=seed), losses=np.arange(1000))
        for seed in (3, 3, 4)]
    assert all(np.array_equal(one[0], two[0]) for one, two in zip(first, again))
    assert not any(np.array_equal(one[0], two[0]) for one, two in zip(first, other))


def test_a_training_step_remembers_the_loss_of_its_images():
    options = dict(RECIPES["fast"], widths=[8, 16, 16], label_smoothing=0)
    images, labels = generated_images(50, seed=1)
    chosen = np.random.RandomState(0).permutation(80)[:50]
    with tf.Graph().as_default() as graph:
        kernel = np.random.RandomState(1).normal(size=(2, 2, 3, 24)).astype(np.float32)
        model = training.build(options, 1, 80, kernel)
        with tf.Session(graph=graph) as session:
            session.run(model.initialise)
            never = session.run(model.samples.losses)
            feed = {model.images: images, model.labels: labels, model.indices: chosen}
            mean = session.run([model.loss, model.train], feed)[0]
            losses = session.run(model.samples.losses)
    assert losses[chosen].mean() == pytest.approx(mean, rel=1e-5) and losses[chosen].std() > 0
    others = np.setdiff1d(np.arange(80), chosen)
    assert np.array_equal(losses[others], never[others])
