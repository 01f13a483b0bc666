"""Probabilities that mean what they say."""
import numpy as np
import pytest

from ex03_cifar.calibration import calibration_error, fit_temperature


def test_the_calibration_error_of_a_small_example():
    """Two predictions at 0.9, one correct, and two at 0.6, both correct: (0.8 + 0.8) / 4."""
    probabilities = np.full((4, 10), 0.1 / 9)
    probabilities[:2, 3] = 0.9
    probabilities[2:] = 0.4 / 9
    probabilities[2:, 5] = 0.6
    assert calibration_error(probabilities, np.array([3, 4, 5, 5])) == pytest.approx(0.4)


def test_the_fitted_temperature_undoes_a_known_one():
    """Labels are drawn with the probabilities of softmax(logits); the logits are then doubled."""
    rng = np.random.RandomState(0)
    logits = 2 * rng.randn(20000, 10)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) > rng.rand(20000, 1)).argmax(axis=1)
    assert fit_temperature(2 * logits, labels) == pytest.approx(2, rel=0.05)
