"""Muon takes the steps that its description says."""
import numpy as np

from support.muon import MuonOptimizer, orthogonalise
from support.tf1 import tf


def test_orthogonalising_brings_the_singular_values_near_one():
    rng = np.random.RandomState(0)
    for shape in ((576, 64), (64, 576), (40, 32)):
        matrix = rng.randn(*shape).astype(np.float32)
        with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
            result = session.run(orthogonalise(tf.constant(matrix), steps=5))
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        singular = np.linalg.svd(result, compute_uv=False)
        assert singular.min() > 0.5 and singular.max() < 1.3
        cosine = np.sum(result * left.dot(right)) / np.linalg.norm(result) / np.sqrt(min(shape))
        assert cosine > 0.97


def test_two_steps_equal_the_formula_in_numpy():
    rng = np.random.RandomState(1)
    start = rng.randn(3, 3, 4, 8).astype(np.float32)
    gradients = rng.randn(2, 3, 3, 4, 8).astype(np.float32)
    with tf.Graph().as_default() as graph:
        variable = tf.get_variable("kernel", initializer=start)
        fed = tf.placeholder(tf.float32, start.shape)
        step = MuonOptimizer(0.1, momentum=0.6).apply_gradients([(fed, variable)])
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            for gradient in gradients:
                session.run(step, {fed: gradient})
            result = session.run(variable)

    weights, momentum = start.astype(np.float64), np.zeros_like(start, np.float64)
    for gradient in gradients:
        momentum = 0.6 * momentum + gradient
        x = (gradient + 0.6 * momentum).reshape(-1, 8)
        x = x / np.linalg.norm(x)
        for _ in range(3):
            gram = x.T.dot(x)
            x = 3.4445 * x + x.dot(-4.7750 * gram + 2.0315 * gram.dot(gram))
        weights = weights * np.sqrt(8) / np.linalg.norm(weights) - 0.1 * x.reshape(weights.shape)
    np.testing.assert_allclose(result, weights, atol=2e-5)
