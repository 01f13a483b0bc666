"""Train the CIFAR-10 network: python -m ex03_cifar.train

About 94 % on the test set in 18 minutes on two cores of an AMD EPYC (Zen 4); the README has the
figures. Where an earlier run with the same options stopped, the same command goes on from there.
"""
import argparse
import os
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from ex03_cifar import augment, dataset, sampling
from ex03_cifar.figures import IMAGES, draw_curves, png_path
from ex03_cifar.graph import build
from ex03_cifar.network import whitening_kernel
from ex03_cifar.recipes import RECIPES, epoch_sizes, epoch_steps, recipe, stages
from ex03_cifar.checkpoint import CheckpointError, save as save_checkpoint
from ex03_cifar.classifier import RELEASE, fit_temperature, mean_by_picture, run_in_parts
from ex03_cifar.state import RunState, StopRequest
from ex03_cifar.tf1 import start_session, tf
from ex03_cifar.views import cifar_views

WHITENING_IMAGES = 5000
CURVES = os.path.join(IMAGES, "ex03_training.png")


class TrainingError(Exception):
    """Training cannot go on; the message is for the person at the keyboard."""


class Stopped(Exception):
    """Training was asked to stop and its state is saved; the message says where."""


def augmented(images, mirrored, options, progress, rng):
    """Return a batch as a training step sees it, uint8 [N,S,S,3].

    Args:
        images: uint8 [N,32,32,3].
        mirrored: bool [N], whether each image is to be mirrored.
        progress: the share of the run that is over.
        rng: draws all that is random.
    """
    images = augment.mirror(augment.shift(images, rng, options["shift"]), mirrored)
    if options["cutout"]:
        images = augment.cutout(images, rng, options["cutout"])
    for side, largest, end in options["parts"]:
        if progress < end:
            return augment.small_parts(images, rng, side, largest)
    return images


def train(options, checkpoint_dir=RELEASE, data_dir=None, logdir=None, fresh=False,
          save_every=120):
    """Train, or go on training, and release the weights; return the history, a list of dicts.

    Args:
        options: the hyper-parameters, a dict with the keys of a recipe in `recipes.RECIPES`.
        checkpoint_dir: where the released weights go, and the training state below it.
        data_dir: the folder with the binary batches; by default `dataset.default_folder()`.
        logdir: where TensorBoard's events go, if anywhere.
        fresh: whether to forget the state of an earlier run.
        save_every: seconds of work that are at risk, the time between two saved states.
    Raises:
        dataset.DatasetError, CheckpointError, TrainingError.
        Stopped: on Ctrl-C or SIGTERM, after the state was saved.
    """
    state = RunState(checkpoint_dir)
    images, labels = [whole[:options["images"]] for whole in dataset.load_train(data_dir)]
    steps = count_steps(options)
    run = {"options": options, "data": zlib.crc32(labels, zlib.crc32(images)),
           "history": [], "sums": [0, 0, 0]}
    (images, labels), held_out = dataset.hold_out(images, labels, options["validation"])
    with tf.Graph().as_default() as graph:
        model = build(options, steps, len(images), whitening_kernel(images[:WHITENING_IMAGES]))
    with start_session(graph) as session:
        if fresh:
            state.clear()
        start = resume_or_initialise(session, model, state, run, steps)
        if start < steps:
            say("Training on %d images, %d held out, %d steps; at the end the weights in %s are "
                "replaced." % (len(images), len(held_out[0]), steps - start, checkpoint_dir))
        writer = open_summaries(logdir, graph)
        bar = tqdm(total=steps * options["batch_size"], initial=start * options["batch_size"],
                   unit="image", unit_scale=True, dynamic_ncols=True,
                   mininterval=0.5 if sys.stderr.isatty() else 30)
        with bar, StopRequest() as stop:
            began = saved = time.monotonic()
            for step, epoch, last, feed in batches(session, model, images, labels, options, start):
                train_step(session, model, run, step, state, feed)
                show_progress(bar, run, epoch)
                if last:
                    rate = (step + 1 - start) * options["batch_size"] / (time.monotonic() - began)
                    end_epoch(session, model, run, epoch, held_out, rate, writer)
                stopping = stop.requested
                if stopping or step + 1 == steps or time.monotonic() - saved > save_every:
                    state.save(session, model.state_saver, step + 1, run)
                    saved = time.monotonic()
                if stopping:
                    raise Stopped("Stopped after step %d, saved in %s: the same command, without "
                                  "--fresh, goes on from there." % (step + 1, state.folder))
        release(session, model, checkpoint_dir, held_out)
    return run["history"]


def batches(session, model, images, labels, options, start):
    """Yield (step, epoch, whether it is the epoch's last step, feed) from the step `start` on.

    While a step is trained, the next batch is made, except over the end of an epoch: which images
    come then depends on the losses. What is random in a batch depends on the seed and the step
    alone, so that a run that is resumed needs no memory of the batches before.
    """
    lengths = epoch_steps(options)
    ends = np.cumsum(lengths)
    size = options["batch_size"]
    with ThreadPoolExecutor(1) as pool:
        for epoch in range(int(np.searchsorted(ends, start, side="right")), len(lengths)):
            first = int(ends[epoch]) - lengths[epoch]
            begin = max(start, first)
            if begin == first:
                sampling.begin_epoch(session, model.samples, options, epoch)
            order, mirrored = session.run([model.samples.order, model.samples.mirrored])

            def make(step):
                chosen = order[(step - first) * size:(step - first + 1) * size]
                rng = np.random.RandomState([options["seed"], epoch, step])
                batch = augmented(images[chosen], mirrored[chosen], options, step / ends[-1], rng)
                return {model.images: batch, model.labels: labels[chosen], model.indices: chosen}

            coming = pool.submit(make, begin)
            for step in range(begin, ends[epoch]):
                feed = coming.result()
                last = step + 1 == ends[epoch]
                coming = None if last else pool.submit(make, step + 1)
                yield step, epoch, last, feed


def count_steps(options):
    """Return how many steps a run has, or raise TrainingError where an epoch has none."""
    lengths = epoch_steps(options)
    if min(lengths) < 1:
        raise TrainingError(
            "Of %d images %d are held out, and what an epoch sees of the rest is less than a batch "
            "of %d: give more --images, or less --validation or --batch-size."
            % (options["images"], options["validation"], options["batch_size"]))
    return sum(lengths)


def open_summaries(logdir, graph):
    """Return the writer of TensorBoard's events in `logdir`, or None without one."""
    try:
        return tf.summary.FileWriter(logdir, graph) if logdir else None
    except (OSError, tf.errors.OpError) as error:
        raise TrainingError("--logdir %s cannot be written: %s" % (logdir, error))


def resume_or_initialise(session, model, state, run, steps):
    """Bring the variables and `run` to where the saved run was; return the step to go on at."""
    def check(saved):
        differing = ["%s %s, now %s" % (name, saved["options"].get(name), value)
                     for name, value in sorted(run["options"].items())
                     if saved["options"].get(name) != value]
        if saved["data"] != run["data"] and not differing:
            differing = ["another data set"]
        if differing:
            raise TrainingError(
                "%s holds a run with other options (%s): give the same, or --fresh to start over."
                % (state.folder, "; ".join(differing)))

    saved, refusals = state.restore(session, model.state_saver, check)
    for refusal in refusals:
        say("Passed over: %s" % refusal)
    if saved is None:
        session.run(model.initialise)
        return 0
    run.update(saved)
    step = int(session.run(model.step))
    if step == steps:
        say("This run has finished: its weights are released again. --fresh trains anew.")
    else:
        say("Going on from step %d (epoch %d), saved in %s."
            % (step, len(run["history"]) + 1, state.folder))
    return step


def train_step(session, model, run, step, state, feed):
    """Train one step on a batch and add its loss and accuracy to the sums of the epoch."""
    healthy, loss, correct = session.run([model.train, model.loss, model.correct], feed)
    count = len(feed[model.labels])
    if not healthy:
        kept = state.steps()
        raise TrainingError(
            "The loss or a weight is no finite number any more after step %d (loss %s): start "
            "over with --fresh and a smaller --learning-rate. %s" % (
                step + 1, loss,
                "The state of step %d is kept." % kept[0] if kept else "No state was saved."))
    run["sums"] = [run["sums"][0] + float(loss) * count,
                   run["sums"][1] + int(correct), run["sums"][2] + count]


def show_progress(bar, run, epoch):
    """Move the bar on by a batch, with the epoch's loss and accuracy so far."""
    loss, correct, seen = run["sums"]
    bar.set_postfix_str("epoch %d, loss %.3f, accuracy %.1f %%"
                        % (epoch + 1, loss / seen, 100 * correct / seen), refresh=False)
    bar.update(run["options"]["batch_size"])


def end_epoch(session, model, run, epoch, held_out, rate, writer):
    """Validate, print the epoch's line with the mean `rate` so far, keep it in the history."""
    loss, correct, seen = run["sums"]
    line = {"loss": loss / seen, "accuracy": correct / seen}
    text = "epoch %2d  training loss %.4f  training accuracy %.2f %%" % (
        epoch + 1, line["loss"], 100 * line["accuracy"])
    if len(held_out[0]):
        answers = run_in_parts(session, model.logits, model.images, held_out[0]).argmax(axis=1)
        line["validation"] = float(np.mean(answers == held_out[1]))
        text += "  validation accuracy %.2f %%" % (100 * line["validation"])
    say("%s  (%.0f images/s so far)" % (text, rate))
    run["history"].append(line)
    run["sums"] = [0, 0, 0]
    if writer:
        scalars = dict(line, learning_rate=float(session.run(model.learning_rate)))
        values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        writer.add_summary(tf.Summary(value=values), epoch + 1)
        writer.flush()


def say(text):
    """Print a line above the bar, at once even where stdout is a file or a pipe."""
    with tqdm.external_write_mode():
        print(text, flush=True)


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
        prog="python -m ex03_cifar.train",
        description="Train the CIFAR-10 network and release its weights. A run that was stopped "
                    "is continued by the same command.")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="fast",
                        help="the named block of hyper-parameters in ex03_cifar/recipes.py "
                             "(default: %(default)s); the next options change single ones")
    for name, kind, text in (
            ("epochs", whole_number(1), "passes over the images, later ones over the harder part"),
            ("batch-size", whole_number(1), "images in a step"),
            ("learning-rate", number, "of Muon, for the kernels"),
            ("images", whole_number(1, 50000), "training images to use, fewer for a trial"),
            ("validation", whole_number(0), "images held out of these; 0 for none"),
            ("seed", whole_number(0, 2 ** 32 - 1), "of every random number")):
        parser.add_argument("--" + name, type=kind, help="%s (%s)" % (text, in_recipes(name)))
    parser.add_argument("--widths", type=whole_number(1), nargs=3, metavar="FILTERS",
                        help="of the blocks (%s)" % in_recipes("widths"))
    parser.add_argument("--precision", choices=("float32", "bfloat16"),
                        help="of the computation; the weights are float32 (%s where the processor "
                             "has it)" % in_recipes("precision"))
    parser.add_argument("--save-every", type=number, default=120, metavar="SECONDS",
                        help="the time between two saved states (default: %(default)s)")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=os.path.abspath, default=RELEASE,
                        help="for the released weights and, below it, the training state "
                             "(default: %(default)s)")
    parser.add_argument("--data-dir", metavar="DIR", default=dataset.default_folder(),
                        help="the CIFAR-10 binary version (default: %(default)s; where that is "
                             "missing Keras downloads its own copy)")
    parser.add_argument("--logdir", metavar="DIR", help="for TensorBoard (default: none)")
    parser.add_argument("--curves", metavar="PNG", type=png_path, default=CURVES,
                        help="the picture of the training curves (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget an earlier run's state")
    return parser.parse_args(arguments)


def in_recipes(name):
    """Return the text of what the recipes have for an option: "fast 19, best 33"."""
    values = [(block, RECIPES[block][name.replace("-", "_")]) for block in ("fast", "best")]
    if values[0][1] == values[1][1]:
        return "default: %s" % values[0][1]
    return ", ".join("%s %s" % pair for pair in values)


def whole_number(smallest, largest=None):
    """Return an argparse type: an int from `smallest` to `largest`."""
    def convert(text):
        if not (text.isdigit() and smallest <= int(text)
                and (largest is None or int(text) <= largest)):
            raise argparse.ArgumentTypeError("%r is no whole number from %d %s" % (
                text, smallest, "up" if largest is None else "to %d" % largest))
        return int(text)
    return convert


def number(text):
    """An argparse type: a finite float that is not negative."""
    try:
        if 0 <= float(text) < float("inf"):
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("%r is no number from 0 up" % text)


def epochs_of_stages(options):
    """Return (stages, harder), as `draw_curves` takes them, of a recipe's hyper-parameters."""
    sizes = epoch_sizes(options)
    ends = np.cumsum([0] + sizes)

    def epochs(share):
        return float(np.interp(share * ends[-1], ends, range(len(ends))))
    in_epochs = [(side, epochs(begin), epochs(end))
                 for side, _, begin, end in stages(options["parts"])]
    return in_epochs, sizes.count(sizes[0])


def main(arguments=None):
    """Run the command line; return the exit code."""
    given = parse(arguments)
    options = recipe(given.recipe)
    options.update((name, value) for name, value in vars(given).items()
                   if name in options and value is not None)
    try:
        os.makedirs(os.path.dirname(given.curves), exist_ok=True)
        history = train(options, given.checkpoint_dir, given.data_dir, given.logdir, given.fresh,
                        given.save_every)
        draw_curves(history, given.curves, *epochs_of_stages(options))
    except (dataset.DatasetError, CheckpointError, TrainingError) as error:
        sys.exit("error: %s" % error)
    except OSError as error:
        sys.exit("error: %s cannot be written: %s." % (given.curves, error.strerror or error))
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Stopped; nothing new was saved.", file=sys.stderr)
        return 130
    print("Released %s, drew %s." % (given.checkpoint_dir, given.curves))
    return 0


if __name__ == "__main__":
    sys.exit(main())
