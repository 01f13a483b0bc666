"""Train the CIFAR-10 network: python -m ex03_cifar.train

About 94 % on the test set; docs/measurements.md has the figures. Where an earlier run with the
same options was stopped, the same command goes on from there.
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib", "tf_keras")

import dataclasses
import functools
import os
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ex03_cifar import cluster, dataset, options, sampling
from ex03_cifar.augment import training_batch
from ex03_cifar.calibration import fit_temperature
from ex03_cifar.classifier import inference_graph, mean_by_picture, run_in_parts
from ex03_cifar.graph import build
from ex03_cifar.network import whitening_kernel
from ex03_cifar.recipes import schedule
from ex03_cifar.views import cifar_views
from support import checkpoint, console
from support.console import Interrupted, UserError, say
from support.run_state import RunState, Saved, StopRequest
from support.summaries import open_summaries, write_scalars
from support.tf1 import tf

WHITENING_IMAGES = 5000


def main(arguments=None):
    """Run the command line."""
    recipe, run = options.parse(arguments)
    with cluster.launched(run, sys.argv[1:] if arguments is None else arguments):
        history = train(recipe, run)
    if run.task == 0:
        path = os.path.join(run.output_dir or run.checkpoint_dir, "ex03_training.png")
        draw_history(history, recipe, path)
        say("Saved the weights in %s, drew %s." % (run.checkpoint_dir, path))


def train(recipe, run):
    """Train, or go on training, and release the weights; return the history, a list of dicts.

    Args:
        recipe: a `recipes.Recipe`.
        run: where it reads and writes, as `options.parse` returns it.
    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after the state was saved.
        UserError: the data, the state or the weights cannot be read or written.
    """
    state = RunState(run.checkpoint_dir) if run.task == 0 else None
    images, labels = dataset.load_train(run.data_dir, recipe.images)
    settings = dict(dataclasses.asdict(recipe), data=zlib.crc32(labels, zlib.crc32(images)))
    (images, labels), held_out = dataset.hold_out(images, labels, recipe.validation)
    with cluster.join(run, settings) as team:
        if not team.leads:
            held_out = images[:0], labels[:0]  # task 0 validates
        return fit(team, recipe, run, state, settings, images, labels, held_out)


def fit(team, recipe, run, state, settings, images, labels, held_out):
    """Do what `train` does, with what it has prepared; the `RunState` is None but for task 0."""
    ends = schedule(recipe).epoch_ends
    build_for = functools.partial(build, recipe, ends[-1],
                                  whitening_kernel(images[:WHITENING_IMAGES]))
    with tf.Graph().as_default() as graph, team.device():
        model = team.whole(build_for(team.total), recipe)
    with tf.Session(team.target, graph=graph, config=team.config) as session:
        saved = None
        if state:
            team.initialise(session, model, build_for)
            saved = begin(session, model, state, settings, run, len(images), team.size)
            say("Training on %d images, %d held out, %d steps; at the end the weights in %s are "
                "replaced." % (len(images), len(held_out[0]), ends[-1] - saved.step,
                               run.checkpoint_dir))
        start, notes, arrays = saved = team.share(session, saved)
        samples = sampling.Samples(**arrays)
        writer = open_summaries(run.logdir, graph)
        bar = console.progress(ends[-1] * recipe.batch_size, "image", start * recipe.batch_size,
                               always=team.leads)
        with bar, StopRequest() as stop:
            began = kept = time.monotonic()
            for step, epoch, indices, batch in batches(images, samples, recipe, ends, start, team):
                stopping = train_step(session, model, notes, step, samples, indices, batch,
                                      labels[indices], team, stop)
                show_progress(bar, notes, epoch, recipe.batch_size)
                if step + 1 == ends[epoch]:
                    rate = (step + 1 - start) * recipe.batch_size / (time.monotonic() - began)
                    end_epoch(session, model, notes, held_out, rate)
                    writer = write_scalars(writer, dict(
                        notes["history"][-1],
                        learning_rate=float(session.run(model.learning_rate))), epoch + 1)
                last = step + 1 == ends[-1]
                if last or stopping:
                    team.over()
                if state and (last or stopping or time.monotonic() - kept > run.save_every):
                    state.save(session, model.state_saver, saved._replace(step=step + 1), settings)
                    kept = time.monotonic()
                if stopping and not last:
                    raise Interrupted("Interrupted after step %d, saved in %s: the same command, "
                                      "without --fresh, resumes from there."
                                      % (step + 1, state.folder if state else "task 0's folder"))
            if state:
                release(session, model, recipe, run.checkpoint_dir, held_out)
                state.clear()
    return notes["history"]


def begin(session, model, state, settings, run, count, processes):
    """Restore the state of a run that was stopped, or begin one of `count` images; return it."""
    if run.fresh:
        state.clear()
    saved = state.resume(session, model.state_saver, settings, say) or Saved(
        0, {"history": [], "sums": [0, 0, 0]}, sampling.new_samples(count)._asdict())
    before = saved.notes.get("processes", 1)
    if saved.step:
        say("Going on from step %d (epoch %d), saved in %s."
            % (saved.step, len(saved.notes["history"]) + 1, state.folder))
        if before != processes:  # sums are split among them
            say("Saved with processes: %d, now %d: the same to rounding, not bit for bit."
                % (before, processes))
    saved.notes["processes"] = processes
    return saved


def batches(images, samples, recipe, ends, start, team):
    """Yield (step, epoch, indices int32 [N], batch uint8 [M,S,S,3]) from the step `start` on.

    The indices are of the whole batch, and the M images the part of it that this process trains.

    While a step is trained, the next batch is made, except over the end of an epoch: which images
    come then depends on the losses. What is random in a batch depends on the seed and the step
    alone, so that a run that is resumed needs no memory of the batches before.

    Args:
        ends: a list of ints, the step after the last one of each epoch.
        team: this process as a `cluster.Alone` or `cluster.Team`.
    """
    size = recipe.batch_size
    part = team.part(size)
    with ThreadPoolExecutor(1) as pool:
        for epoch in range(int(np.searchsorted(ends, start, side="right")), len(ends)):
            first = ends[epoch - 1] if epoch else 0
            if start <= first:
                sampling.begin_epoch(samples, recipe, epoch)

            def make(step):
                indices = samples.order[(step - first) * size:(step - first + 1) * size].copy()
                rng = team.random(np.random.RandomState([recipe.seed, epoch, step]), size)
                mine = indices[part]
                return indices, training_batch(images[mine], samples.flipped[mine], recipe,
                                               step / ends[-1], rng)

            coming = pool.submit(make, max(start, first))
            for step in range(max(start, first), ends[epoch]):
                indices, batch = coming.result()
                if step + 1 < ends[epoch]:
                    coming = pool.submit(make, step + 1)
                yield step, epoch, indices, batch


def train_step(session, model, notes, step, samples, indices, batch, labels, team, stop):
    """Train one step, keep the losses, add to the sums of the epoch; return whether to stop."""
    (healthy, losses, loss, correct), stopping = team.step(
        session, [model.train, model.losses, model.loss, model.correct],
        {model.images: batch, model.labels: labels[team.part(len(labels))]}, stop)
    if not healthy:
        raise UserError(
            "The loss or a weight is no finite number any more after step %d (loss %s): start "
            "over with --fresh and a smaller --learning-rate." % (step + 1, loss))
    samples.losses[indices] = losses
    sums = notes["sums"]
    notes["sums"] = [sums[0] + float(loss) * len(labels), sums[1] + int(correct),
                     sums[2] + len(labels)]
    return stopping


def show_progress(bar, notes, epoch, batch_size):
    """Move the bar on by a batch, with the epoch's loss and accuracy so far."""
    loss, correct, seen = notes["sums"]
    bar.set_postfix_str("epoch %d, loss %.3f, accuracy %.1f %%"
                        % (epoch + 1, loss / seen, 100 * correct / seen), refresh=False)
    bar.update(batch_size)


def end_epoch(session, model, notes, held_out, rate):
    """Validate, print the epoch's line with the mean `rate` so far, keep it in the history."""
    loss, correct, seen = notes["sums"]
    line = {"loss": loss / seen, "accuracy": correct / seen}
    notes["history"].append(line)
    notes["sums"] = [0, 0, 0]
    text = "epoch %2d  training loss %.4f  training accuracy %.2f %%" % (
        len(notes["history"]), line["loss"], 100 * line["accuracy"])
    if len(held_out[0]):
        answers = run_in_parts(session, model.logits, model.images, held_out[0]).argmax(axis=1)
        line["validation"] = float(np.mean(answers == held_out[1]))
        text += "  validation accuracy %.2f %%" % (100 * line["validation"])
    say("%s  (%.0f images/s so far)" % (text, rate))


def release(session, model, recipe, folder, held_out):
    """Fit the temperature on the held-out images; write the weights and graph for `predict`."""
    images, labels = held_out
    if len(images):
        views = cifar_views(images)
        logits = run_in_parts(session, model.logits, model.images, views.reshape(-1, 32, 32, 3))
        logits = mean_by_picture(logits, np.full(len(images), views.shape[1]))
        model.temperature.load(fit_temperature(logits, labels), session)
    checkpoint.save(folder, session, model.release_saver,
                    {".meta": inference_graph(recipe.widths, recipe.convolutions)})


def draw_history(history, recipe, path):
    """Draw the training curves, with the stages of the run marked, into the PNG `path`."""
    plan = schedule(recipe)
    ends = (0,) + plan.epoch_ends

    def epochs(fraction):
        return float(np.interp(fraction * ends[-1], ends, range(len(ends))))
    stages = [("%d×%d" % (stage.side, stage.side), epochs(stage.begin), epochs(stage.end))
              for stage in plan.stages]
    from figures.ex03 import draw_training
    draw_training(history, path, stages, plan.full_epochs)


if __name__ == "__main__":
    console.run(main)
