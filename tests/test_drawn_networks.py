"""The pictures of trained networks show what the networks compute, recomputed by SciPy or NumPy."""
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

import ex02_fashion_cnn as ex02
from ex03_cifar import explain
from ex03_cifar.classifier import Classifier
from figures import ex02 as figures02, ex03 as figures03
from figures.common import draw_confusion
from support import checkpoint
from support.tf1 import tf
from tools import draw_features, draw_network

IMAGE = np.random.RandomState(0).randint(0, 256, (28, 28)).astype(np.uint8)


@pytest.fixture(scope="module")
def fashion():
    model, session, _ = ex02.load_network(ex02.RELEASE)
    with session:
        yield model, session


def test_the_filters_are_those_of_the_checkpoint(fashion):
    kernel = checkpoint.load(ex02.RELEASE, lambda prefix: tf.train.load_checkpoint(
        prefix).get_tensor("network/conv1/kernel"))
    drawn = draw_network.first_kernels(fashion[1])
    np.testing.assert_array_equal(drawn, kernel[:, :, 0])
    before = draw_network.untrained(drawn.shape[-1])
    assert before.shape == drawn.shape
    assert abs(np.corrcoef(before.ravel(), drawn.ravel())[0, 1]) < 0.9
    kinds, numbers = zip(*draw_network.named_filters(drawn))
    assert kinds == ("edge", "edge", "spot", "spot", "stripe", "stripe") and len(set(numbers)) == 6


def test_ideal_filters_are_named_for_what_they_are():
    ideals = draw_network.templates(5)
    kernels = np.stack([values for _, values in ideals], axis=-1)
    for kind, number in draw_network.named_filters(kernels):
        assert ideals[number][0] == kind


def test_a_training_is_watched_at_its_moments(monkeypatch):
    monkeypatch.setattr(draw_network, "MOMENTS", (0, 1))
    recipe = ex02.Recipe(epochs=1, filters=(4, 4, 4), batch_size=8, precision="float32")
    steps, kernels, losses = draw_network.watch_training(
        np.stack([IMAGE] * 24), np.arange(24) % 10, recipe)
    assert steps == (0, 1, 3) and kernels.shape == (3, 5, 5, 4) and len(losses) == 3
    assert not np.array_equal(kernels[0], kernels[1])


def test_the_way_is_computed_layer_by_layer(fashion):
    layers = draw_network.way(*fashion, IMAGE)
    assert [kind + detail for kind, detail, _ in layers] == [
        "Image", "Convolution 5×5", "Max-pooling 2×2", "Normalise, ReLU",
        "Convolution 3×3", "Max-pooling 2×2", "Normalise, ReLU", "Convolution 3×3",
        "Normalise, ReLU", "Flatten, dense", "Output, softmax"]
    first, pooled, rectified, probabilities = [layers[place][2] for place in (1, 2, 3, -1)]
    normalised = np.pad((IMAGE - ex02.PIXEL_MEAN) / ex02.PIXEL_STD, 2, "constant")
    kernels = draw_network.first_kernels(fashion[1])
    for number in range(5):
        expected = scipy.ndimage.correlate(normalised, kernels[..., number])[2:-2, 2:-2]
        np.testing.assert_allclose(first[..., number], expected, atol=1e-3)
    np.testing.assert_array_equal(pooled, first.reshape(14, 2, 14, 2, -1).max(axis=(1, 3)))
    assert rectified.shape == pooled.shape and rectified.min() == 0
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def classifier():
    return Classifier(exact=True)


def test_a_unit_sees_the_part_that_is_drawn_and_nothing_else(classifier):
    rng = np.random.RandomState(1)
    image, noise = rng.randint(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    convolutions = draw_features.convolutions(classifier)
    assert len(convolutions) == 9
    for place in (1, 1), (1, 3), (2, 1):
        tensor, (size, step, start) = convolutions[place]
        top, left = start + step * 2, start + step * 3
        inside = np.zeros((32, 32, 1), bool)
        inside[max(0, top):top + size, max(0, left):left + size] = True
        pictures = np.stack([image, np.where(inside, image, noise), np.where(inside, noise, image)])
        seen = classifier.session.run(tensor, {classifier.images: pictures})[:, 2, 3]
        np.testing.assert_allclose(seen[0], seen[1], atol=1e-4)
        assert np.abs(seen[0] - seen[2]).max() > 0.01
        drawn = draw_features.part(image, (2, 3), (size, step, start))
        np.testing.assert_array_equal(drawn[-1, -1], image[top + size - 1, left + size - 1])


def test_grad_cam_weights_the_maps_by_tensorflows_gradients(classifier):
    pixels = np.random.RandomState(0).randint(0, 256, (48, 70, 3)).astype(np.uint8)
    features = explain.last_maps(classifier)
    weights = explain.variables(classifier)[explain.HEAD][:, [3, 5]]
    for label, heat in zip((3, 5), explain.class_maps(classifier, pixels, weights)):
        with classifier.session.graph.as_default():
            gradient, = tf.gradients(classifier.logits[:, label], features)
            weighted = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True) * features
            expected = tf.nn.relu(tf.reduce_sum(weighted, axis=3))[0]
        np.testing.assert_allclose(
            heat, classifier.session.run(expected, {classifier.images: pixels[None]}), atol=1e-5)


def test_tiles_keep_the_order_and_the_sign():
    sheet = figures02.tiles(np.ones((2, 2, 1)) * ([1.0, -4.0, 2.0, 1.0, 3.0] + [0.0] * 11))
    assert sheet.shape == (11, 11) and np.isnan(sheet[2]).all()
    assert (sheet[0, 0], sheet[0, 3], sheet[3, 0]) == (1, -1, 1)


def test_pictures_of_networks_are_drawn_in_french_and_fit_a_screen(tmp_path):
    rng, names = np.random.RandomState(0), ex02.CLASS_NAMES
    photo = Image.fromarray(rng.randint(0, 256, (60, 80, 3)).astype(np.uint8))
    part = rng.randint(0, 256, (5, 5, 3)).astype(np.uint8)
    probabilities = rng.dirichlet(np.ones(10))
    layers = [("Image", "", IMAGE), ("Convolution", " 3×3", rng.randn(28, 28, 20)),
              ("Flatten, dense", "", rng.rand(16)), ("Output, softmax", "", probabilities)]
    draw = {
        "architecture": lambda path: figures02.draw_architecture(layers, names, path, "fr"),
        "confusion": lambda path: draw_confusion(
            rng.randint(0, 9, (10, 10)), names, path, language="fr"),
        "predictions": lambda path: figures02.draw_predictions(np.stack([IMAGE] * 9), np.arange(
            9), rng.dirichlet(np.ones(10), 9), names, "test", path, "fr"),
        "learning": lambda path: figures02.draw_learning(
            (0, 5, 9), rng.randn(3, 5, 5, 3), rng.rand(9), path),
        "features": lambda path: figures03.draw_features(
            [(1, 1, 5, [[part] * 4] * 3)] * 6, path, "fr"),
        "explain": lambda path: figures03.draw_explanation(
            photo, [(3, rng.rand(60, 80))] * 2, probabilities, names, path)}
    for name in draw:
        draw[name](str(tmp_path / name))
        with Image.open(str(tmp_path / name)) as picture:
            assert picture.width in (855, 1245) and 200 < picture.height < 700 * 1.5, name
