"""Train the CIFAR-10 network: python -m ex03_cifar.train

About 94 % on the test set; docs/measurements.md has the figures. The same command resumes an
interrupted run with the same options.
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib", "tf_keras")

import dataclasses
import functools
import os
import time
import zlib

import numpy as np

from ex03_cifar import RELEASE, dataset, options, sampling
from ex03_cifar.calibration import fit_temperature
from ex03_cifar.classifier import GRAPH, Classifier, inference_graphs, run_in_parts, softmax
from ex03_cifar.graph import training_session
from ex03_cifar.network import whitening_kernel
from ex03_cifar.release import draw_history, release
from ex03_cifar.views import cifar_views
from support import checkpoint, console
from support.console import postponed_interrupts, say
from support.run_state import RunState, Saved, diverged
from support.summaries import open_summaries, write_scalars

WHITENING_IMAGES = 5000
TAUGHT_AT_A_TIME = 1000  # images that a teacher sees between two steps of the progress bar


def main(arguments=None):
    recipe, run = options.parse(arguments)
    if run.release:
        return release(run.checkpoint_dir)
    if run.cluster or run.processes > 1:
        from ex03_cifar import cluster
        return cluster.run(run, functools.partial(train, recipe, run))
    return train(recipe, run)


def train(recipe, run, open_session=training_session):
    """Train, or resume an interrupted run; write the weights and draw the training curves.

    Args:
        recipe, run: as `options.parse` returns them.
        open_session: builds the graph and opens a session, as `graph.training_session` does.
    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after the state was saved.
        UserError: the data, the state or the weights cannot be read or written.
    """
    pictures = console.writable_folder(run.output_dir)
    images, labels = dataset.load_train(run.data_dir, recipe.images)
    training_set, held_out = dataset.hold_out(images, labels, recipe.validation)
    settings = dict(dataclasses.asdict(recipe), data=zlib.crc32(labels, zlib.crc32(images)),
                    init=run.init and checkpoint.name(run.init),
                    teachers=sorted(map(checkpoint.name, run.teachers)))
    steps = recipe.schedule.epoch_ends[-1]
    state = RunState(run.checkpoint_dir, settings, steps, run.save_every)
    history = state.finished(run.fresh)
    if not history:
        kernel = whitening_kernel(training_set[0][:WHITENING_IMAGES])
        with open_session(recipe, steps, kernel) as (session, model):
            saved = begin(session, model, state, run, training_set[0])
            with postponed_interrupts() as state.interrupts:
                fit(session, model, recipe, run, state, saved, training_set, held_out)
                finish(session, model, recipe, state, saved, held_out)
        history = saved.notes["history"]
    path = os.path.join(pictures, "ex03_training.png")
    draw_history(history, recipe, path)
    say("Drew %s.\nTo try the weights: %s images/avion.jpg" % (
        path, console.command("./predict", run.checkpoint_dir, RELEASE)))


def begin(session, model, state, run, images):
    """Restore an interrupted run, or begin one on `images` uint8 [N,32,32,3]; return `Saved`."""
    saved = state.resume(session, model.state_saver)
    if saved:
        return saved
    session.run(model.initialise)
    if run.init:
        checkpoint.load_values(run.init, session, model.released)
    arrays = sampling.new_samples(len(images))
    if run.teachers:
        arrays["taught"] = taught_probabilities(run.teachers, images)
    return Saved(0, {"history": [], "sums": [0, 0, 0]}, arrays)


def taught_probabilities(folders, images):
    """Return the mean of the teachers' probabilities float32 [N,10] of images uint8 [N,32,32,3].

    They see each image and its mirror image, once and before any augmentation (Noisy Student, Xie
    et al. 2020, arXiv 1911.04252), and their logits are not sharpened by the temperature: what is
    learnt is how much the other classes are like this one (Hinton et al. 2015, arXiv 1503.02531).
    """
    say("The teachers look at %d images." % len(images))
    mean = np.zeros([len(images), 10], np.float32)
    with console.progress(2 * len(folders) * len(images), "image", always=True) as bar:
        for folder in folders:
            teacher = Classifier(folder, large_batch=True)
            for start in range(0, len(images), TAUGHT_AT_A_TIME):
                part = images[start:start + TAUGHT_AT_A_TIME]
                logits = teacher.view_logits(part) + teacher.view_logits(part[:, :, ::-1])
                mean[start:start + len(part)] += softmax(logits / 2) / len(folders)
                bar.update(2 * len(part))
    return mean


def probabilities_to_learn(labels, recipe, taught=None):
    """Return the targets float32 [N,10]: the smoothed labels, int32 [N], and by the weight
    `recipe.distillation` what teachers say of the images, float32 [N,10]."""
    smoothing = np.float32(recipe.label_smoothing)
    targets = np.eye(10, dtype=np.float32)[labels] * (1 - smoothing) + smoothing / 10
    if taught is not None:
        targets += np.float32(recipe.distillation) * (taught - targets)
    return targets


def fit(session, model, recipe, run, state, saved, training_set, held_out):
    """Train from the step of `saved`, which is updated in place, to the end.

    Each set is (images uint8 [N,32,32,3], labels int32 [N]).
    """
    (images, labels), ends, start = training_set, recipe.schedule.epoch_ends, saved.step
    targets = probabilities_to_learn(labels, recipe, saved.arrays.get("taught"))
    say("Training on %d images, %d held out, %d steps; at the end the weights in %s are replaced."
        % (len(images), len(held_out[0]), ends[-1] - start, run.checkpoint_dir))
    writer = open_summaries(run.logdir, saved.notes, session.graph)
    with console.progress(ends[-1] * recipe.batch_size, "image", start * recipe.batch_size,
                          always=True) as bar:
        began = time.monotonic()
        for epoch, indices, batch in sampling.batches(images, saved.arrays, recipe, start):
            train_step(session, model, saved, indices, {
                model.images: batch, model.labels: labels[indices],
                model.targets: targets[indices]})
            loss, correct, seen = saved.notes["sums"]
            bar.set_postfix_str("epoch %d, loss %.3f, accuracy %.1f %%" % (
                epoch + 1, loss / seen, 100 * correct / seen), refresh=False)
            bar.update(len(batch))
            if saved.step == ends[epoch]:
                rate = (saved.step - start) * recipe.batch_size / (time.monotonic() - began)
                end_epoch(session, model, saved.notes, held_out, rate)
                writer = write_scalars(writer, dict(
                    saved.notes["history"][-1],
                    learning_rate=float(session.run(model.learning_rate))), epoch + 1)
            state.keep(session, model.state_saver, saved, due=saved.step == ends[-1])


def train_step(session, model, saved, indices, feed):
    """Train one step; count it, keep the images' losses, add to the sums of the epoch."""
    healthy, losses, loss, correct = session.run(
        [model.train, model.losses, model.loss, model.correct], feed)
    saved.step += 1
    if not healthy:
        raise diverged(saved.step, loss)
    saved.arrays["losses"][indices] = losses
    sums = saved.notes["sums"]
    sums[:] = sums[0] + float(loss) * len(indices), sums[1] + int(correct), sums[2] + len(indices)


def end_epoch(session, model, notes, held_out, rate):
    """Validate; add the epoch to the history and print it, with the mean `rate` of the run."""
    loss, correct, seen = notes["sums"]
    line = {"loss": loss / seen, "accuracy": correct / seen}
    notes["history"].append(line)
    notes["sums"] = [0, 0, 0]
    text = "epoch %2d  training loss %.4f  training accuracy %.2f %%" % (
        len(notes["history"]), line["loss"], 100 * line["accuracy"])
    if len(held_out[0]):
        predictions = run_in_parts(session, model.logits, model.images, held_out[0]).argmax(axis=1)
        line["validation"] = float(np.mean(predictions == held_out[1]))
        text += "  validation accuracy %.2f %%" % (100 * line["validation"])
    say("%s  (%.0f images/s so far)" % (text, rate))


def finish(session, model, recipe, state, saved, held_out):
    """Fit the temperature on the held-out images, and save weights and graphs."""
    images, labels = held_out
    if len(images):
        views = cifar_views(images)
        logits = run_in_parts(session, model.logits, model.images, views.reshape(-1, 32, 32, 3))
        logits = logits.reshape(len(images), -1, 10).mean(axis=1)
        model.temperature.load(fit_temperature(logits, labels), session)
    graphs = inference_graphs(recipe.widths, recipe.convolutions)
    state.finish(saved, graphs[GRAPH], checkpoint.values_of(session, model.released), graphs)


if __name__ == "__main__":
    console.run(main)
