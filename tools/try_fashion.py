"""Try what might make exercise 2 better: python tools/try_fashion.py OUT [what is tried]

Trains the network of ex02_fashion_cnn.py on the first training pictures and reports on the last
ones; the test set is not read. OUT gets the weights, as a checkpoint, and the answers.
    python tools/try_fashion.py plain
    python tools/try_fashion.py mixed --mixup 0.3
    python tools/try_fashion.py student --teachers plain mixed
    python tools/try_fashion.py --compare plain mixed      the mean of their answers
docs/measurements.md tells what came out.
"""
import argparse
import dataclasses
import json
import os
import sys
import time
import types

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import ex02_fashion_cnn as ex02  # noqa: E402, after the path
from support import checkpoint, console  # noqa: E402
from support.console import UserError, say  # noqa: E402
from support.tf1 import fastest, tf  # noqa: E402

ANSWERS = "answers.npz"


# ---- Pictures ----
def shift(images, pixels, rng):
    """Move each of uint8 [N,28,28] by up to so many pixels each way, black coming in."""
    padded = np.pad(images, ((0, 0), (pixels,) * 2, (pixels,) * 2), "constant")
    rows, columns = rng.randint(0, 2 * pixels + 1, (2, len(images)))
    steps = np.arange(28)
    return padded[np.arange(len(images))[:, None, None], (rows[:, None] + steps)[:, :, None],
                  (columns[:, None] + steps)[:, None, :]]


def mixup(images, targets, beta, rng):
    """Mix each of uint8 [N,28,28] and its targets [N,10] with another (arXiv 1710.09412).

    The shares are of Beta(beta, beta), the larger one the picture's own.
    """
    share = rng.beta(beta, beta, len(images)).astype(np.float32)
    other = rng.permutation(len(images))
    share = np.maximum(share, 1 - share)[:, None]
    mixed = share[:, :, None] * images + (1 - share)[:, :, None] * images[other]
    return (mixed + 0.5).astype(np.uint8), share * targets + (1 - share) * targets[other]


def cutmix(images, targets, beta, rng):
    """Put a square of another picture into half of them, targets by area (arXiv 1905.04899)."""
    chosen = rng.random_sample(len(images)) < 0.5
    side = 28 * np.sqrt(1 - rng.beta(beta, beta, len(images)))
    other = rng.permutation(len(images))
    centre = rng.randint(0, 28, (2, len(images), 1))
    rows, columns = np.abs(np.arange(28) - centre) < side[:, None] / 2
    square = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]
    share = square.mean(axis=(1, 2)).astype(np.float32)[:, None]
    return np.where(square, images[other], images), (1 - share) * targets + share * targets[other]


def epoch_data(images, labels, recipe, options, epoch):
    """Return uint8 [N,28,28] and targets float32 [N,10] as `epoch` shows them."""
    images, labels = ex02.epoch_data(images, labels, recipe, epoch)
    targets = np.eye(10, dtype=np.float32)[labels]
    rng = np.random.RandomState([recipe.seed, epoch, 7])
    if options.shift:
        images = shift(images, options.shift, rng)
    if options.mixup:
        images, targets = mixup(images, targets, options.mixup, rng)
    if options.cutmix:
        images, targets = cutmix(images, targets, options.cutmix, rng)
    return images, targets


# ---- Graph ----
def build(recipe, options, steps):
    """Return a namespace: the network, those of the teachers beside it, and one training step."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, 28, 28])
        labels = tf.placeholder(tf.float32, [None, 10])
        training = tf.placeholder_with_default(False, [])
        step = tf.train.get_or_create_global_step()
        logits, _ = ex02.network(images, recipe, training, tf.cast(step, tf.int32),
                                 recipe.precision)
        weights = tf.global_variables("network")
        measure = tf.get_collection(tf.GraphKeys.UPDATE_OPS)

        smoothing = recipe.label_smoothing
        targets = (1 - smoothing) * labels + smoothing / 10
        teachers = [teacher(images, folder, number)
                    for number, folder in enumerate(options.teachers)]
        if teachers:  # what they say of the very picture that the student sees (arXiv 2106.05237)
            said = tf.add_n([tf.nn.softmax(one.logits) for one in teachers]) / len(teachers)
            share = options.teachers_share
            targets = tf.stop_gradient((1 - share) * targets + share * said)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=targets,
                                                                         logits=logits))
        decay = tf.add_n([tf.nn.l2_loss(weight) for weight in weights if "kernel" in weight.name])
        done = tf.cast(step, tf.float32) / steps
        falling = 1.0 if options.average else (1 - done) / (1 - recipe.warm_up)
        rate = recipe.peak_learning_rate * tf.minimum(done / recipe.warm_up, falling)
        optimizer = tf.train.MomentumOptimizer(rate, recipe.momentum, use_nesterov=True)
        with tf.control_dependencies(measure):
            train = optimizer.minimize(loss + recipe.weight_decay * decay, step,
                                       tf.trainable_variables("network"))
        right = tf.equal(tf.argmax(logits, 1), tf.argmax(labels, 1))
        return types.SimpleNamespace(
            graph=graph, images=images, labels=labels, training=training, loss=loss, train=train,
            accuracy=tf.reduce_mean(tf.cast(right, tf.float32)), weights=weights,
            measure=tf.group(*measure), probabilities=tf.nn.softmax(logits), teachers=teachers,
            initialise=tf.global_variables_initializer(), saver=tf.train.Saver(weights))


def teacher(images, folder, number):
    """Return a namespace: the logits of a trained network, and how to restore it from `folder`."""
    scope = "teacher%d" % number
    with tf.variable_scope(scope):
        logits, _ = ex02.network(images, checkpoint.load(folder, ex02.recipe_of))
    saver = tf.train.Saver({variable.op.name[len(scope) + 1:]: variable
                            for variable in tf.global_variables(scope + "/")})
    return types.SimpleNamespace(logits=logits, restore=lambda session: checkpoint.load(
        folder, lambda prefix: saver.restore(session, prefix)))


# ---- Trial ----
def run(recipe, options, training_set, held_out):
    """Train, save in options.out what came of it, and print how good it is."""
    images, labels = training_set
    epoch_steps = len(images) // recipe.batch_size
    if not epoch_steps:
        raise UserError("a batch has %d pictures, and there are %d to train on."
                        % (recipe.batch_size, len(images)))
    model = build(recipe, options, epoch_steps * recipe.epochs)
    history, mean = [], None
    with tf.Session(graph=model.graph) as session:
        session.run(model.initialise)
        if options.start:
            checkpoint.load(options.start, lambda prefix: model.saver.restore(session, prefix))
        for one in model.teachers:
            one.restore(session)
        with console.progress(epoch_steps * recipe.epochs, "step") as bar:
            for epoch in range(recipe.epochs):
                shown = epoch_data(images, labels, recipe, options, epoch)
                history.append(train_epoch(session, model, recipe, shown, held_out, bar))
                if options.average and epoch:
                    values = session.run(model.weights)
                    mean = values if mean is None else [
                        old + (new - old) / epoch for old, new in zip(mean, values)]
        if mean:
            shown = epoch_data(images, labels, recipe, options, recipe.epochs)
            use_mean(session, model, mean, shown[0])
        answers = answer(session, model, held_out[0])
        checkpoint.save(options.out, session, model.saver, {".json": json.dumps(
            {"settings": dataclasses.asdict(recipe), "history": history}, indent=1).encode()})
    np.savez(os.path.join(options.out, ANSWERS), labels=held_out[1], **answers)
    report([options.out])


def train_epoch(session, model, recipe, shown, held_out, bar):
    """Train on uint8 [N,28,28] and targets [N,10]; return and print the epoch's figures."""
    sums, begun = np.zeros(2), time.monotonic()
    count = len(shown[0]) // recipe.batch_size
    for start in range(0, count * recipe.batch_size, recipe.batch_size):
        images, labels = [whole[start:start + recipe.batch_size] for whole in shown]
        feed = {model.images: images, model.labels: labels, model.training: True}
        sums += session.run([model.loss, model.accuracy, model.train], feed)[:2]
        bar.update()
    seconds = time.monotonic() - begun
    answers = ex02.probabilities(session, model, held_out[0][:5000], one_view=True)
    line = {"loss": sums[0] / count, "accuracy": sums[1] / count,
            "held_out": float(np.mean(answers.argmax(axis=1) == held_out[1][:5000]))}
    say("loss %.4f, accuracy %.2f %%, %d images/s, held out (the first 5000) %.2f %%"
        % (line["loss"], 100 * line["accuracy"], count * recipe.batch_size / seconds,
           100 * line["held_out"]))
    return line


def use_mean(session, model, mean, images):
    """Let the network have these weights, and normalise by what they make of images.

    Stochastic weight averaging (Izmailov et al., arXiv 1803.05407).
    """
    for weight, value in zip(model.weights, mean):
        weight.load(value, session)
    for batch in np.array_split(images[:50000], 50):  # 0.9 ** 50 of the old statistics remain
        session.run(model.measure, {model.images: batch, model.training: True})


def answer(session, model, images):
    """Return probabilities float32 [N,10]: of one view, of a mirrored one too, and of ex02's all."""
    def one_view(view):
        return ex02.probabilities(session, model, view, one_view=True)

    first = one_view(images)
    return {"one": first, "mirrored": (first + one_view(images[:, :, ::-1])) / 2,
            "all": ex02.probabilities(session, model, images)}


def report(folders):
    """Print how good the mean of the answers in these folders is."""
    try:
        found = [np.load(os.path.join(folder, ANSWERS)) for folder in folders]
    except (OSError, ValueError) as error:
        raise UserError("there are no answers to compare: %s." % console.reason(error))
    labels = found[0]["labels"]
    if any(not np.array_equal(labels, one["labels"]) for one in found):
        raise UserError("these folders answer for other pictures than each other.")
    for kind, name in (("one", "one view"), ("mirrored", "mirrored too"),
                       ("all", "moved in doubt")):
        mean = sum(one[kind] for one in found) / len(found)
        loss = -np.log(mean[np.arange(len(labels)), labels]).mean()
        say("%-14s %.2f %% of %d, cross-entropy %.4f" % (
            name, 100 * np.mean(mean.argmax(axis=1) == labels), len(labels), loss))


# ---- Command line ----
def parse(arguments):
    """Return (recipe, options) of a command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    option = parser.add_argument
    option("out", nargs="?", metavar="OUT", help="a folder for what comes of it")
    option("--compare", metavar="DIR", nargs="+", help="only print how good their mean answers are")
    option("--images", metavar="N", type=console.whole_number(1), default=15000,
           help="train on the first N training pictures (default: %(default)s)")
    option("--held-out", metavar="N", type=console.whole_number(1), default=15000,
           help="report on the last N (default: %(default)s)")
    option("--epochs", type=console.whole_number(1, 10000), default=36, help="default: %(default)s")
    option("--seed", type=console.whole_number(0, 10 ** 8), default=1, help="default: %(default)s")
    option("--set", metavar="NAME=VALUE", action="append", default=[],
           type=console.setting(ex02.Recipe), help="a hyper-parameter of ex02_fashion_cnn.py's")
    option("--from", metavar="DIR", dest="start", help="begin with the weights in DIR")
    option("--mixup", metavar="BETA", type=console.number, help="mix pictures")
    option("--cutmix", metavar="BETA", type=console.number, help="put parts into others")
    option("--shift", metavar="PIXELS", type=console.whole_number(0, 27), help="move pictures")
    option("--average", action="store_true",
           help="keep the learning rate, and take the mean of all epochs' weights but the first's")
    option("--teachers", metavar="DIR", nargs="+", default=[], help="learn from their answers")
    option("--teachers-share", metavar="SHARE", type=console.number, default=0.8,
           help="of the targets (default: %(default)s)")
    option("--data-dir", metavar="DIR", help="as in ex02_fashion_cnn.py")
    options = parser.parse_args(arguments)
    if bool(options.out) == bool(options.compare):
        parser.error("give either OUT or --compare")
    recipe = ex02.Recipe(epochs=options.epochs, seed=options.seed, erase_probability=0.5,
                         precision=fastest("bfloat16"))
    return dataclasses.replace(recipe, **dict(options.set)), options


def main(arguments=None):
    """Compare, or train and report."""
    recipe, options = parse(arguments)
    if options.compare:
        report(options.compare)
        return
    images, labels = ex02.load_data(options.data_dir)[0]
    if options.images + options.held_out > len(images):
        raise UserError("--images and --held-out are %d pictures, and the training set has %d."
                        % (options.images + options.held_out, len(images)))
    shown, held_out = slice(options.images), slice(len(images) - options.held_out, None)
    console.writable_folder(options.out)
    run(recipe, options, (images[shown], labels[shown]), (images[held_out], labels[held_out]))


if __name__ == "__main__":
    console.run(main)
