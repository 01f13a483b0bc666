"""What is computed another way in bfloat16 is the same operation, forwards and backwards."""
import numpy as np
import pytest

from ex03_cifar import operations
from support.tf1 import tf

ROUNDING = 0.05  # oneDNN adds some small convolutions up in bfloat16, with 8 bits


def tensors(*shapes):
    rng = np.random.RandomState(0)
    return [tf.cast(tf.constant(rng.normal(size=shape), tf.float32), tf.bfloat16)
            for shape in shapes]


def compared(operation, plain, *inputs):
    """Run both with the gradients of their inputs, the plain one in float32; return two lists."""
    with tf.Session() as session:
        results = []
        for function, dtype in ((operation, tf.bfloat16), (plain, tf.float32)):
            given = [tf.cast(value, dtype) for value in inputs]
            y = function(*given)
            weights = tf.cast(tf.reshape(tf.range(tf.size(y)) % 7 - 3, tf.shape(y)), dtype)
            assert y.dtype == dtype
            results.append(session.run([tf.cast(value, tf.float32) for value in
                                        [y] + tf.gradients(y, given, weights)]))
        return results


@pytest.mark.parametrize("filters", [32, 256, 640])  # the last so many that images lie side by side
@pytest.mark.parametrize("images, height, width", [(6, 3, 3), (5, 3, 7)])
def test_the_convolution_and_its_gradients_are_those_of_float32(images, height, width, filters):
    with tf.Graph().as_default():
        x, kernel = tensors([images, height, width, 256], [3, 3, 256, filters])
        ours, plain = compared(
            lambda x, kernel: operations.convolution(x, kernel, "conv", large_batch=True),
            lambda x, kernel: tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME"),
            x, kernel)
    for one, other in zip(ours, plain):
        assert np.linalg.norm(one - other) < ROUNDING * np.linalg.norm(other)


@pytest.mark.parametrize("fused", [True, False])
def test_silu_and_its_gradient_are_those_of_float32(fused):
    with tf.Graph().as_default():
        x = 3 * tensors([5, 4, 3, 24])[0]
        ours, plain = compared(lambda x: operations.silu(x, fused), tf.nn.swish, x)
    for one, other in zip(ours, plain):
        assert np.linalg.norm(one - other) < ROUNDING * np.linalg.norm(other)
