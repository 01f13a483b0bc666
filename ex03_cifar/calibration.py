"""Calibration of the probabilities: temperature scaling and the expected calibration error."""
import numpy as np


def fit_temperature(logits, labels):
    """Return the temperature with the least cross-entropy (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: float [N,10], averaged over views, of held-out images.
        labels: int [N].
    """
    def cross_entropy(temperature):
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels])

    candidates = np.exp(np.linspace(np.log(0.05), np.log(5), 461))  # steps of 1 %
    return float(min(candidates, key=cross_entropy))


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error in [0,1] (Guo et al. 2017, arXiv 1706.04599).

    Args:
        probabilities: float [N,10].
        labels: int [N].
        bins: the number of intervals of equal width that the confidences are sorted into.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    numbers = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(correct[numbers == number].sum() - confidence[numbers == number].sum())
            for number in range(bins)]
    return float(np.sum(gaps) / len(labels))
