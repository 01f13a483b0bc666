"""Winograd's convolution is the direct one, to rounding, with both of its gradients."""
import numpy as np
import pytest

from ex03_cifar import winograd
from support.tf1 import tf

TOLERANCE = 1e-4  # of the largest element


def results(convolution, x, kernel, upstream):
    """Return the convolution and the gradients of its input and its kernel."""
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        images = tf.placeholder(tf.float32, [None, None, None, x.shape[-1]])
        weights = tf.constant(kernel)
        y = convolution(images, weights)
        gradients = tf.gradients(y, [images, weights], tf.constant(upstream))
        return session.run([y] + gradients, {images: x})


@pytest.mark.parametrize("count,height,width,channels,filters", [
    (1, 7, 7, 256, 64), (5, 9, 9, 64, 48), (3, 31, 31, 24, 64), (2, 40, 40, 16, 16),
    (3, 1, 1, 8, 4), (1, 2, 5, 7, 3), (5, 7, 31, 3, 5), (1, 47, 4, 2, 1)])
@pytest.mark.parametrize("offset,kernel_cost", [(0, 0), (2, 0), (0, winograd.KERNEL_COST)])
def test_it_is_the_direct_convolution(count, height, width, channels, filters, offset, kernel_cost,
                                      monkeypatch):
    monkeypatch.setattr(winograd, "KERNEL_COST", kernel_cost)  # 0: the fewest products, as for many
    rng = np.random.RandomState(0)
    arrays = [(rng.randn(*shape) + offset).astype(np.float32) for shape in (
        (count, height, width, channels), (3, 3, channels, filters),
        (count, height, width, filters))]
    expected = results(lambda x, kernel: tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME"), *arrays)
    for found, exact in zip(results(winograd.convolution, *arrays), expected):
        assert found.shape == exact.shape
        assert np.abs(found - exact).max() <= TOLERANCE * np.abs(exact).max()


@pytest.mark.parametrize("size", winograd.SIZES)
def test_the_matrices_of_a_tile_convolve_a_row(size):
    rng = np.random.RandomState(0)
    inputs, kernel, outputs = winograd.matrices(size)
    row, weights = rng.randn(size + 2), rng.randn(3)
    np.testing.assert_allclose(outputs.T.dot(kernel.dot(weights) * inputs.dot(row)),
                               np.correlate(row, weights), atol=1e-11)
