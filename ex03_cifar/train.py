"""Train the CIFAR-10 network: python -m ex03_cifar.train

Where an earlier run with the same options stopped, the same command goes on from there.
"""
import argparse
import os
import sys
import time
import zlib

import numpy as np
from tqdm import tqdm

from ex03_cifar import augment, dataset
from ex03_cifar.figures import IMAGES, draw_curves
from ex03_cifar.graph import build
from ex03_cifar.network import whitening_kernel
from ex03_cifar.checkpoint import CheckpointError, save as save_checkpoint
from ex03_cifar.classifier import RELEASE, fit_temperature, mean_by_picture, run_in_parts
from ex03_cifar.state import RunState, StopRequest
from ex03_cifar.tf1 import start_session, tf
from ex03_cifar.views import cifar_views

HYPERPARAMETERS = dict(
    widths=[64, 256, 256],      # filters in each block
    convolutions=2,             # convolutions in each block
    epochs=8,
    batch_size=500,
    learning_rate=0.13,         # of Muon, for the kernels: the step relative to the kernel's norm
    momentum=0.7,               # of Muon
    bias_learning_rate=0.053,   # of SGD, for batch normalisation's biases, on the batch's sum
    head_learning_rate=0.0012,  # of SGD, for the fully connected layer, on the batch's sum
    sgd_momentum=0.85,
    weight_decay=2e-6,          # an image and step, of what SGD trains
    label_smoothing=0.2,        # Szegedy et al. 2015, arXiv 1512.00567
    shift=2,                    # pixels, the farthest that an image is moved
    cutout=0,                   # pixels, the side of the square that is covered; 0 for none
    images=50000,               # training images that are used at all, from the first on
    validation=1000,            # the last of these are held out
    seed=0,
)
WHITENING_IMAGES = 5000
CURVES = os.path.join(IMAGES, "ex03_training.png")


class TrainingError(Exception):
    """Training cannot go on; the message is for the person at the keyboard."""


def batch(images, labels, options, epoch, number):
    """Return the augmented batch `number` of `epoch`: it depends on these and the seed alone."""
    size, seed = options["batch_size"], options["seed"]
    order = np.random.RandomState([seed, epoch]).permutation(len(images))
    chosen = order[number * size:(number + 1) * size]
    starts = np.random.RandomState([seed]).randint(0, 2, len(images))[chosen]
    rng = np.random.RandomState([seed, epoch, number])
    augmented = augment.shift(images[chosen], rng, options["shift"])
    augmented = augment.alternating_mirror(augmented, starts, epoch)
    if options["cutout"]:
        augmented = augment.cutout(augmented, rng, options["cutout"])
    return augmented, labels[chosen]


def train(options, checkpoint_dir=RELEASE, data_dir=None, logdir=None, fresh=False,
          save_every=120):
    """Train, or go on training, and release the weights; return the history, a list of dicts.

    Args:
        options: the hyper-parameters, a dict with the keys of `HYPERPARAMETERS`.
        checkpoint_dir: where the released weights go, and the training state below it.
        data_dir: the folder with the binary batches; by default `dataset.default_folder()`.
        logdir: where TensorBoard's events go, if anywhere.
        fresh: whether to forget the state of an earlier run.
        save_every: seconds of work that are at risk, the time between two saved states.
    Raises:
        dataset.DatasetError, CheckpointError, TrainingError.
    """
    state = RunState(checkpoint_dir)
    images, labels = [whole[:options["images"]] for whole in dataset.load_train(data_dir)]
    (images, labels), held_out = dataset.hold_out(images, labels, options["validation"])
    steps_an_epoch = len(images) // options["batch_size"]
    if not steps_an_epoch:
        raise TrainingError("A batch of %d is more than the %d training images: give a smaller "
                            "--batch-size." % (options["batch_size"], len(images)))
    steps = steps_an_epoch * options["epochs"]
    with tf.Graph().as_default() as graph:
        model = build(options, steps, whitening_kernel(images[:WHITENING_IMAGES]))
    with start_session(graph) as session:
        if fresh:
            state.clear()
        run = {"options": options, "data": zlib.crc32(images), "history": [], "sums": [0, 0, 0]}
        start = resume_or_initialise(session, model, state, run)
        writer = tf.summary.FileWriter(logdir, graph) if logdir else None
        bar = tqdm(total=steps * options["batch_size"], initial=start * options["batch_size"],
                   unit="image", unit_scale=True, dynamic_ncols=True,
                   mininterval=0.5 if sys.stderr.isatty() else 30)
        with bar, StopRequest() as stop:
            saved_at = time.time()
            for step in range(start, steps):
                epoch, number = divmod(step, steps_an_epoch)
                pixels, classes = batch(images, labels, options, epoch, number)
                train_step(session, model, run, step, pixels, classes)
                loss, correct, seen = run["sums"]
                bar.update(len(pixels))
                bar.set_postfix_str("epoch %d, loss %.3f, accuracy %.1f %%"
                                    % (epoch + 1, loss / seen, 100 * correct / seen),
                                    refresh=False)
                if number + 1 == steps_an_epoch:
                    rate = (bar.n - bar.initial) / bar.format_dict["elapsed"]
                    end_epoch(session, model, run, epoch, held_out, rate, writer)
                stopping = stop.requested
                if (stopping or step + 1 == steps
                        or time.time() - saved_at > save_every):
                    save_state(session, model, state, run, step + 1)
                    saved_at = time.time()
                if stopping:
                    raise KeyboardInterrupt
        release(session, model, checkpoint_dir, held_out)
    return run["history"]


def resume_or_initialise(session, model, state, run):
    """Bring the variables and `run` to where the saved run was; return the step to go on at."""
    def check(saved):
        differing = sorted(name for name in run["options"]
                           if saved["options"].get(name) != run["options"][name])
        if saved["data"] != run["data"] and not differing:
            differing = ["data"]
        if differing:
            raise TrainingError(
                "%s holds a run with other options (%s): give the same, or --fresh to start over."
                % (state.folder, ", ".join(
                    "%s %s, now %s" % (name, saved["options"].get(name, "set"),
                                       run["options"].get(name, "another"))
                    for name in differing)))

    saved = state.restore(session, model.state_saver, check)
    if saved is None:
        session.run(model.initialise)
        return 0
    run.update(saved)
    step = int(session.run(model.step))
    tqdm.write("Going on from step %d (epoch %d), saved in %s."
               % (step, len(run["history"]) + 1, state.folder))
    return step


def train_step(session, model, run, step, images, labels):
    """Train one step on a batch and add its loss and accuracy to the sums of the epoch."""
    _, loss, correct = session.run([model.train, model.loss, model.correct],
                                   {model.images: images, model.labels: labels})
    if not np.isfinite(loss):
        raise TrainingError("The loss became %s at step %d: try a smaller --learning-rate. "
                            "No state was saved after it." % (loss, step))
    run["sums"] = [run["sums"][0] + float(loss) * len(images),
                   run["sums"][1] + int(correct), run["sums"][2] + len(images)]


def end_epoch(session, model, run, epoch, held_out, rate, writer):
    """Validate, print the epoch's line with the `rate` in images/s, keep it in the history."""
    loss, correct, seen = run["sums"]
    line = {"epoch": epoch + 1, "loss": loss / seen, "accuracy": correct / seen}
    text = "epoch %2d  training loss %.4f  training accuracy %.2f %%" % (
        epoch + 1, line["loss"], 100 * line["accuracy"])
    if len(held_out[0]):
        answers = run_in_parts(session, model.logits, model.images, held_out[0]).argmax(axis=1)
        line["validation"] = float(np.mean(answers == held_out[1]))
        text += "  validation accuracy %.2f %%" % (100 * line["validation"])
    tqdm.write("%s  (%.0f images/s)" % (text, rate))
    run["history"].append(line)
    run["sums"] = [0, 0, 0]
    if writer:
        values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in line.items()]
        writer.add_summary(tf.Summary(value=values), epoch + 1)
        writer.flush()


def save_state(session, model, state, run, step):
    """Save the state after `step` steps, unless the weights are no numbers any more."""
    if not session.run(model.finite):
        raise TrainingError("A weight is no finite number after step %d: try a smaller "
                            "--learning-rate. The state before it is kept." % step)
    state.save(session, model.state_saver, step, run)


def release(session, model, folder, held_out):
    """Fit the temperature on the held-out images and write the weights that `predict` uses."""
    images, labels = held_out
    if len(images):
        views = cifar_views(images)
        logits = run_in_parts(session, model.logits, model.images, views.reshape(-1, 32, 32, 3))
        logits = mean_by_picture(logits, np.full(len(images), views.shape[1]))
        model.temperature.load(fit_temperature(logits, labels), session)
    save_checkpoint(folder, session, model.release_saver)


def parse(arguments):
    """Return the command line's options as an `argparse.Namespace`."""
    parser = argparse.ArgumentParser(
        prog="python -m ex03_cifar.train", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Train the CIFAR-10 network and release its weights. A run that was stopped "
                    "is gone on with by the same command.")
    for name, kind, text in (
            ("epochs", positive, "how many times the training set is seen"),
            ("batch-size", positive, "images in a step"),
            ("learning-rate", float, "of Muon, for the kernels"),
            ("images", positive, "training images to use, fewer for a quick trial"),
            ("validation", natural, "images held out of these; 0 for none"),
            ("seed", natural, "of every random number")):
        parser.add_argument("--" + name, type=kind, help=text,
                            default=HYPERPARAMETERS[name.replace("-", "_")])
    parser.add_argument("--widths", type=positive, nargs="+", default=HYPERPARAMETERS["widths"],
                        help="filters in each block")
    parser.add_argument("--save-every", type=float, default=120, metavar="SECONDS",
                        help="the time between two saved states")
    parser.add_argument("--checkpoint-dir", default=RELEASE,
                        help="for the released weights, and below it the training state")
    parser.add_argument("--data-dir", help="the folder of the CIFAR-10 binary version "
                        "(default: %s, else a download)" % dataset.default_folder())
    parser.add_argument("--logdir", help="for TensorBoard (default: none)")
    parser.add_argument("--curves", default=CURVES, help="the picture of the training curves")
    parser.add_argument("--fresh", action="store_true", help="forget an earlier run's state")
    return parser.parse_args(arguments)


def natural(text, smallest=0):
    """Return an argument as a whole number from `smallest` up, for argparse."""
    if not text.isdigit() or int(text) < smallest:
        raise argparse.ArgumentTypeError("%r is no whole number from %d up" % (text, smallest))
    return int(text)


def positive(text):
    return natural(text, smallest=1)


def main(arguments=None):
    """Run the command line; return the exit code."""
    given = parse(arguments)
    options = dict(HYPERPARAMETERS)
    options.update({name: value for name, value in vars(given).items() if name in options})
    try:
        history = train(options, given.checkpoint_dir, given.data_dir, given.logdir, given.fresh,
                        given.save_every)
        draw_curves(history, given.curves)
    except (dataset.DatasetError, CheckpointError, TrainingError) as error:
        sys.exit("error: %s" % error)
    except KeyboardInterrupt:
        print("Stopped; the state is saved: the same command goes on from there.", file=sys.stderr)
        return 130
    print("Released %s, drew %s." % (given.checkpoint_dir, given.curves))
    return 0


if __name__ == "__main__":
    sys.exit(main())
