"""The graph is the network that it is said to be."""
import numpy as np
import pytest

from ex03_cifar.network import network, partial_identity, whitening_kernel
from support.tf1 import tf
from helpers import generated_images


def test_floats_are_an_error():
    with tf.Graph().as_default(), pytest.raises(TypeError, match="raw uint8 pixels, not float32"):
        network(tf.zeros([1, 32, 32, 3]), [8], 2, training=False)


def test_normalisation_is_in_the_graph():
    """The first convolution sees (pixel - mean) / deviation of the raw pixels that were fed."""
    pixels, _ = generated_images(4, seed=0)
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
        network(images, [8], 2, training=False)
        first = [o for o in graph.get_operations() if o.type == "Conv2D"][0]
        with tf.Session(graph=graph) as session:
            seen = session.run(first.inputs[0], {images: pixels})
    expected = (pixels - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_whitened_patches_are_uncorrelated(real_data):
    from ex03_cifar import dataset
    images = dataset.load_train(real_data)[0][:2000]
    kernel = whitening_kernel(images, epsilon=0)
    assert kernel.shape == (2, 2, 3, 24)
    with tf.Graph().as_default() as graph:
        pixels = (tf.constant(images, tf.float32) - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]
        whitened = tf.nn.conv2d(pixels, kernel[..., :12], strides=[1, 1, 1, 1], padding="VALID")
        with tf.Session(graph=graph) as session:
            channels = session.run(whitened).reshape(-1, 12).astype(np.float64)
    np.testing.assert_allclose(channels.T.dot(channels) / len(channels), np.eye(12), atol=1e-2)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_in_bfloat16_the_blocks_compute_and_the_variables_stay_float32():
    pixels, _ = generated_images(8, seed=0)
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, None, None, 3])
        wanted, logits = [network(images, [8, 16, 32], 3, True, np.ones([2, 2, 3, 24], np.float32),
                                  precision) for precision in ("float32", "bfloat16")]
        assert {v.dtype.base_dtype for v in tf.global_variables()} == {tf.float32}
        assert logits.dtype == tf.float32 and logits.shape.as_list() == [None, 10]
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            expected, result = session.run([wanted, logits], {images: pixels})
    assert 0 < np.abs(result - expected).max() < 0.05 * np.abs(expected).max()


def test_a_partial_identity_passes_its_input_through():
    pixels = np.random.RandomState(0).rand(2, 9, 9, 5).astype(np.float32)
    with tf.Graph().as_default() as graph:
        output = tf.nn.conv2d(pixels, partial_identity([3, 3, 5, 8]), [1, 1, 1, 1], "SAME")
        with tf.Session(graph=graph) as session:
            result = session.run(output)
    np.testing.assert_allclose(result[..., :5], pixels, atol=1e-6)
    assert (np.abs(result[..., 5:]).max(axis=(0, 1, 2)) > 0.01).all()
