"""Draw the training curves."""
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402, the backend comes first


def draw_curves(history, path):
    """Draw loss and accuracy by epoch, `history` as `train` returns it, into the PNG `path`."""
    epochs = [line["epoch"] for line in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    left.plot(epochs, [line["loss"] for line in history], "o-", color="tab:blue")
    left.set(title="Training loss", xlabel="epoch", ylabel="cross-entropy")
    for key, label, colour in (("accuracy", "training (augmented)", "tab:blue"),
                               ("validation", "validation", "tab:orange")):
        if key in history[-1]:
            right.plot(epochs, [100 * line[key] for line in history], "o-", label=label,
                       color=colour)
    right.set(title="Accuracy", xlabel="epoch", ylabel="%")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
