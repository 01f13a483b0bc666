"""Probabilities that mean what they say: the temperature, and how far they are off."""
import numpy as np


def fit_temperature(logits, labels):
    """Return the temperature with the least cross-entropy (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: float [N,10], averaged over views, of pictures that were not trained on.
        labels: int [N].
    """
    def cross_entropy(temperature):
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels])

    candidates = np.exp(np.linspace(np.log(0.05), np.log(5), 461))  # steps of one per cent
    return float(min(candidates, key=cross_entropy))


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error in [0,1] (Guo et al. 2017, arXiv 1706.04599).

    Args:
        probabilities: float [N,10].
        labels: int [N].
        bins: how many intervals of equal width the confidences are sorted into.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(correct[places == place].sum() - confidence[places == place].sum())
            for place in range(bins)]
    return float(np.sum(gaps) / len(labels))
