"""The gradients of support/gradients.py against TensorFlow's own."""
import numpy as np
import pytest

from support.gradients import faster_gradients
from support.tf1 import tf


@pytest.mark.parametrize("sides, stride, padding", [
    ((3, 3), 1, "SAME"), ((5, 3), 1, "SAME"), ((4, 3), 1, "SAME"), ((3, 3), 2, "SAME"), ((3, 3), 1, "VALID")])
def test_they_are_what_tensorflow_computes(sides, stride, padding):
    rng = np.random.RandomState(0)
    images, kernels = rng.standard_normal((2, 7, 6, 3)), rng.standard_normal(sides + (3, 4))
    found, convolutions = [], []
    for faster in (False, True):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            x = tf.constant(images, tf.float32)
            with faster_gradients(graph, "float32" if faster else "bfloat16"):  # none but in float32
                y = tf.layers.conv2d(x, 4, sides, stride, padding, use_bias=False,
                                     kernel_initializer=tf.constant_initializer(kernels))
            gradients = tf.gradients(tf.reduce_sum(y ** 3), [x] + tf.trainable_variables())
            session.run(tf.global_variables_initializer())
            found.append(session.run(gradients))
            convolutions.append([operation.type for operation in graph.get_operations()].count("Conv2D"))
    for theirs, ours in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    assert convolutions == [1, 2 if (sides[0] % 2, stride, padding) == (1, 1, "SAME") else 1]
