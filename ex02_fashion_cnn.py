#!/usr/bin/env python3
"""Exercise 2: the prescribed convolutional network on Fashion-MNIST, in TensorFlow 1 graph mode.

    python ex02_fashion_cnn.py                 train: 94.08 % test accuracy, mean of three seeds
    python ex02_fashion_cnn.py --evaluate      the released weights: 95.17 %, in a minute
    python ex02_fashion_cnn.py --recipe best   how these were made: 95.07 %, mean of three seeds

A run that was stopped goes on by the same command. Layers and their order are the exercise's;
all else was chosen on held-out training pictures (--validation; docs/measurements.md).
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib", "tf_keras")

import dataclasses
import json
import os
import time
import types
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from support import checkpoint, console, idx, reports
from support.arguments import (add_recipe_options, add_training_options, check_settings, chosen_recipe,
                               setting)
from support.console import Interrupted, UserError, say
from support.run_state import RunState, Saved, StopRequest
from support.summaries import open_summaries, write_scalars
from support.tf1 import fastest, kept_in_float32, tf  # TensorFlow, imported when first used


# ---- Hyper-parameters ----
@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that decides what the weights become, apart from the data: value, range, meaning."""

    epochs: int = setting(30, (1, 10000), "passes over the training set")
    seed: int = setting(1, (0, 10 ** 8), "seed of all random numbers")
    filters: tuple = setting((32, 64, 128), (1, 4096), "filters of the three convolutions")
    kernel_sizes: tuple = setting((5, 3, 3), (1, 28), "sides of their kernels, in pixels")
    dense_units: int = setting(256, (1, 65536), "units of the dense layer")
    batch_size: int = setting(256, (1, 60000), "pictures per step")
    peak_learning_rate: float = setting(0.1, (1e-9, 1e30), "highest learning rate, after the "
                                        "warm-up; then it falls to zero in a straight line")
    warm_up: float = setting(0.15, (0, 1), "fraction of the steps in which it rises from zero")
    momentum: float = setting(0.9, (0, 1), "Nesterov momentum")
    weight_decay: float = setting(5e-4, (0, 1), "L2 penalty of the kernels")
    label_smoothing: float = setting(0.1, (0, 0.99), "label smoothing")  # arXiv 1512.00567
    dropout_features: float = setting(0.4, (0, 0.99), "dropout rate before the dense layer")
    dropout_dense: float = setting(0.3, (0, 0.99), "dropout rate before the output layer")
    warp: float = setting(0.0, (0, 10), "strength of random affine maps; 0 turns them off")
    erase_probability: float = setting(0.2, (0, 1), "probability of random erasing, per picture")
    erase_sides: tuple = setting((3, 12), (1, 28), "smallest and largest side that is erased, in "
                                 "pixels")  # Zhong et al., arXiv 1708.04896
    precision: str = setting("bfloat16", ("float32", "bfloat16"), "precision of training; the "
                             "weights are always float32")

    def __post_init__(self):
        check_settings(self)
        if self.erase_sides[0] > self.erase_sides[1]:
            raise ValueError("--erase-sides: the smallest side comes first")


RECIPES = {"default": Recipe(),
           "best": Recipe(epochs=60, filters=(64, 128, 256), warp=1.0, erase_probability=0.3,
                          dropout_features=0.2, dropout_dense=0.1)}


# ---- Data ----
RELEASE = os.path.join(console.REPOSITORY, "checkpoints", "fashion")
RUN = os.path.join(console.REPOSITORY, "checkpoints", "runs", "fashion")
CLASS_NAMES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress',
               'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']
PIXEL_MEAN, PIXEL_STD = 72.94, 90.02  # of the training pictures, on the scale 0 to 255
VALIDATION_SIZE = 5000  # the last pictures of the training set
DOUBT = 0.6  # a picture whose best class is less probable is looked at again


def load_data(data_dir=None):
    """Return Fashion-MNIST, (images uint8 [N,28,28], labels uint8 [N]) of training and test set.

    It is read from `data_dir` or $KERAS_HOME, which Keras' own load_data() does not look at;
    otherwise that reads ~/.keras, or downloads into it. A UserError tells what is missing.
    """
    return idx.load(data_dir, "fashion-mnist", lambda: tf.keras.datasets.fashion_mnist.load_data())


# ---- Augmentation ----
def flip(images, seed, epoch):
    """Mirror half of them, the other half in the next epoch (Jordan, arXiv 2404.00498)."""
    coin = np.random.RandomState(seed).randint(0, 2, len(images))
    return np.where(((coin + epoch) % 2 == 1)[:, None, None], images[:, :, ::-1], images)


def warp(images, strength, rng):
    """Turn, stretch, slant and move 80 % of uint8 [N,28,28], in place, and return them.

    Affine maps about the centre, bilinear (Simard et al., ICDAR 2003). Of strength 1 each amount
    is uniform up to 6 degrees, 8 % of a stretch each way, a slant of 0.08, a pixel.
    """
    chosen = np.flatnonzero(rng.random_sample(len(images)) < 0.8)
    most = strength * np.array([np.deg2rad(6), 0.08, 0.08, 0.08, 1, 1])
    angle, wider, higher, slant, right, down = most[:, None] * rng.uniform(-1, 1, (6, len(chosen)))
    across = np.cos(angle) / np.exp(wider), np.sin(angle) / np.exp(wider) + slant
    along = -np.sin(angle) / np.exp(higher), np.cos(angle) / np.exp(higher)
    maps = np.stack([*across, 14 - 14 * sum(across) + right, *along, 14 - 14 * sum(along) + down])
    for number, coefficients in zip(chosen, maps.T.tolist()):
        images[number] = Image.fromarray(images[number]).transform(
            (28, 28), Image.AFFINE, coefficients, Image.BILINEAR)
    return images


def erase(images, probability, sides, rng):
    """Fill a random rectangle of uint8 [N,28,28] with a random grey, in place, and return them."""
    chosen = np.flatnonzero(rng.random_sample(len(images)) < probability)
    size = rng.randint(sides[0], sides[1] + 1, (2, len(chosen), 1))
    start = rng.randint(0, 28, (2, len(chosen), 1)) - size // 2
    rows, columns = (np.arange(28) >= start) & (np.arange(28) < start + size)
    grey = rng.randint(0, 256, (len(chosen), 1, 1)).astype(np.uint8)
    images[chosen] = np.where(rows[:, :, None] & columns[:, None, :], grey, images[chosen])
    return images


def epoch_data(images, labels, recipe, epoch):
    """Return the set, uint8 [N,28,28] and [N], as `epoch` shows it: of (seed, epoch) alone."""
    rng = np.random.RandomState([recipe.seed, epoch])  # the same stream in every NumPy
    order = rng.permutation(len(images))
    shown = flip(images, recipe.seed, epoch)[order]
    if recipe.warp:  # without it the stream goes straight on to the rectangles
        shown = warp(shown, recipe.warp, rng)
    return erase(shown, recipe.erase_probability, recipe.erase_sides, rng), labels[order]


# ---- Network ----
def network(images, recipe, training=False, step=0, precision="float32"):
    """Return logits float32 [N,10] of images uint8 [N,28,28], and the feature maps.

    Maps: of the convolutions, [N,28,28,F], [N,14,14,F], [N,7,7,F]. Pooling comes before
    normalisation and ReLU: the same but for negative scales, a quarter of the work.
    """
    seed = recipe.seed

    def initializer(layer):  # He et al., arXiv 1502.01852; no layer's depends on another's
        return tf.variance_scaling_initializer(2.0, "fan_in", seed=seed * 10 + layer)

    def conv(x, layer):
        return tf.layers.conv2d(x, recipe.filters[layer], recipe.kernel_sizes[layer],
                                padding="same", use_bias=False,
                                kernel_initializer=initializer(layer), name="conv%d" % (layer + 1))

    def norm_relu(x):  # Ioffe and Szegedy, arXiv 1502.03167
        return tf.nn.relu(tf.layers.batch_normalization(x, momentum=0.9, epsilon=1e-5,
                                                        training=training))

    with tf.variable_scope("network", custom_getter=kept_in_float32):
        x = (tf.cast(images, tf.float32)[..., tf.newaxis] - PIXEL_MEAN) / PIXEL_STD
        conv1 = conv(tf.cast(x, precision), 0)
        x = norm_relu(tf.layers.max_pooling2d(conv1, 2, 2, name="pool1"))
        conv2 = conv(x, 1)
        x = norm_relu(tf.layers.max_pooling2d(conv2, 2, 2, name="pool2"))
        conv3 = conv(x, 2)
        x = tf.layers.flatten(norm_relu(conv3))
        x = dropout(x, recipe.dropout_features, training, [seed, 2 * step])
        x = tf.layers.dense(x, recipe.dense_units, use_bias=False,
                            kernel_initializer=initializer(3), name="dense")
        x = dropout(norm_relu(x), recipe.dropout_dense, training, [seed, 2 * step + 1])
        logits = tf.layers.dense(tf.cast(x, tf.float32), 10, name="output",
                                 kernel_initializer=initializer(4))
    return logits, [conv1, conv2, conv3]


def dropout(inputs, rate, training, seed):
    """Dropout (Srivastava et al., JMLR 15, 2014) whose mask depends on `seed` alone."""
    if training is False:
        return inputs
    rate *= tf.cast(training, tf.float32)
    kept = tf.random.stateless_uniform(tf.shape(inputs), seed=seed) >= rate
    return inputs * tf.cast(tf.cast(kept, tf.float32) / (1 - rate), inputs.dtype)


def inference_graph(recipe):
    """Return a namespace: the network as it answers, in a graph of its own, and its saver."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, 28, 28], name="images")
        logits, feature_maps = network(images, recipe)
        return types.SimpleNamespace(graph=graph, images=images, feature_maps=feature_maps,
                                     probabilities=tf.nn.softmax(logits), saver=tf.train.Saver())


# ---- Loss and optimizer ----
def training_graph(recipe, steps):
    """Return a namespace: the network, its loss and one of `steps` steps of gradient descent.

    In: images uint8 [N,28,28], labels int32 [N], training bool []. Out: the batch's loss, accuracy.
    """
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(recipe.seed)
        images = tf.placeholder(tf.uint8, [None, 28, 28], name="images")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        training = tf.placeholder_with_default(False, [], name="training")
        step = tf.train.get_or_create_global_step()
        logits, _ = network(images, recipe, training, tf.cast(step, tf.int32), recipe.precision)
        weights = tf.global_variables("network")  # before the optimizer adds its own

        targets = tf.one_hot(labels, 10)
        loss = tf.losses.softmax_cross_entropy(targets, logits,
                                               label_smoothing=recipe.label_smoothing)
        decay = tf.add_n([tf.nn.l2_loss(weight) for weight in weights if "kernel" in weight.name])
        done = tf.cast(step, tf.float32) / steps
        learning_rate = recipe.peak_learning_rate * tf.minimum(
            done / recipe.warm_up, (1 - done) / (1 - recipe.warm_up))
        optimizer = tf.train.MomentumOptimizer(learning_rate, recipe.momentum, use_nesterov=True)
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):  # batch norm's
            train = optimizer.minimize(loss + recipe.weight_decay * decay, step)

        right = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels)
        return types.SimpleNamespace(
            graph=graph, images=images, labels=labels, training=training, loss=loss, train=train,
            accuracy=tf.reduce_mean(tf.cast(right, tf.float32)),
            probabilities=tf.nn.softmax(logits), initialise=tf.global_variables_initializer(),
            saver=tf.train.Saver(weights), state_saver=tf.train.Saver())


# ---- Loop ----
def train(recipe, options, training_set, held_out):
    """Train, or go on training, and release the weights; with --validation only report.

    Each set is (images uint8 [N,28,28], labels uint8 [N]); held_out is looked at after each epoch
    and decides nothing. Raises Interrupted on Ctrl-C or SIGTERM, after the state was saved.
    """
    state = None if options.validation else RunState(options.checkpoint_dir)
    images, labels = training_set
    settings = dict(dataclasses.asdict(recipe), data=zlib.crc32(labels, zlib.crc32(images)))
    batch_size = min(recipe.batch_size, len(images))
    epoch_steps = len(images) // batch_size
    steps = epoch_steps * recipe.epochs
    model = training_graph(recipe, steps)
    with tf.Session(graph=model.graph) as session:
        if state and options.fresh:
            state.clear()
        saved = state and state.resume(session, model.state_saver, settings, say)
        if not saved:
            session.run(model.initialise)
            saved = Saved(0, {"history": [], "sums": [0, 0]}, {})
        start, notes = saved.step, saved.notes
        say("Going on from step %d, saved in %s." % (start, state.folder) if start else
            "Training: %d epochs, seed %d, %d pictures" % (recipe.epochs, recipe.seed, len(images)))
        writer = open_summaries(options.logdir, model.graph)
        kept = time.monotonic()
        with console.progress(steps, "step", start) as bar, StopRequest() as stop:
            for step, batch in batches(images, labels, recipe, batch_size, start):
                train_step(session, model, notes, step, batch)
                seen = step % epoch_steps + 1
                bar.set_postfix(loss=notes["sums"][0] / seen, refresh=False)
                bar.update()
                if seen == epoch_steps:
                    end_epoch(session, model, notes, held_out, epoch_steps,
                              "test" if state else "validation")
                    writer = write_scalars(writer, notes["history"][-1], len(notes["history"]))
                stopping = stop.requested and step + 1 < steps
                due = seen == epoch_steps or time.monotonic() - kept > options.save_every
                if state and (stopping or due):
                    state.save(session, model.state_saver, Saved(step + 1, notes, {}), settings)
                    kept = time.monotonic()
                if stopping:
                    raise Interrupted("Interrupted after step %d%s." % (step + 1, state and (
                        ", saved in %s: the same command, without --fresh, resumes from there"
                        % state.folder) or "; --validation saves nothing"))
            if state:
                checkpoint.save(options.checkpoint_dir, session, model.saver, {".json": json.dumps(
                    {"settings": settings, "history": notes["history"]}, indent=1).encode()})
                state.clear()
        if state and stop.requested:
            raise Interrupted("The training has finished, its weights are in %s; the pictures are "
                              "not drawn." % options.checkpoint_dir)
        if not state:
            report(probabilities(session, model, held_out[0]), held_out[1], "Validation")


def batches(images, labels, recipe, batch_size, start):
    """Yield (step, (images, labels)) from `start` on, the next epoch prepared meanwhile."""
    steps = len(images) // batch_size
    epochs = range(start // steps, recipe.epochs)
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(epoch_data, images, labels, recipe, epoch) for epoch in epochs[:1]]
        for epoch in epochs:
            shown = coming.pop().result()
            if epoch + 1 < recipe.epochs:
                coming = [pool.submit(epoch_data, images, labels, recipe, epoch + 1)]
            for step in range(max(start, epoch * steps), (epoch + 1) * steps):
                first = (step - epoch * steps) * batch_size
                yield step, [whole[first:first + batch_size] for whole in shown]


def train_step(session, model, notes, step, batch):
    """Train one step and add its loss and accuracy to the sums of the epoch."""
    feed = {model.images: batch[0], model.labels: batch[1], model.training: True}
    loss, accuracy, _ = session.run([model.loss, model.accuracy, model.train], feed)
    if not np.isfinite(loss):
        raise UserError("the loss is %s in step %d: lower peak_learning_rate and start over with "
                        "--fresh. No weights were released." % (loss, step + 1))
    notes["sums"] = [notes["sums"][0] + float(loss), notes["sums"][1] + float(accuracy)]


def end_epoch(session, model, notes, held_out, steps, name):
    """Keep the epoch's means and its accuracy on `held_out` in the history, and print them."""
    answers = probabilities(session, model, held_out[0], one_view=True)
    line = {"loss": notes["sums"][0] / steps, "accuracy": notes["sums"][1] / steps,
            "held_out": float(np.mean(answers.argmax(axis=1) == held_out[1]))}
    notes["history"].append(line)
    notes["sums"] = [0, 0]
    say("epoch %2d: loss %.4f, accuracy %.2f %%, %s %.2f %%" % (
        len(notes["history"]), line["loss"], 100 * line["accuracy"], name, 100 * line["held_out"]))


# ---- Evaluation ----
def load_network(folder):
    """Return (model, session, history) of a checkpoint folder."""
    def restore(prefix):
        history = reports.read_history(prefix + ".json", ("loss", "accuracy", "held_out"))
        model = inference_graph(recipe_of(prefix))
        session = tf.Session(graph=model.graph)
        model.saver.restore(session, prefix)
        return model, session, history

    return checkpoint.load(folder, restore, expected=(".json",),
                           maker=console.command("python ex02_fashion_cnn.py", folder, RELEASE))


def recipe_of(prefix):
    """Return a recipe of the layers' sizes that a checkpoint has; a ValueError if of others."""
    shapes = tf.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
    try:
        convolutions = [shapes["network/conv%d/kernel" % layer] for layer in (1, 2, 3)]
        return Recipe(filters=tuple(shape[-1] for shape in convolutions),
                      kernel_sizes=tuple(shape[0] for shape in convolutions),
                      dense_units=shapes["network/dense/kernel"][-1])
    except (KeyError, IndexError):
        raise ValueError("it is of another network")


def probabilities(session, model, images, one_view=False, done=lambda count: None):
    """Return class probabilities float32 [N,10] of uint8 [N,28,28]; else it raises a TypeError.

    The mean over a picture and its mirror image; in doubt also, for half, over these moved by a
    pixel each way. Or, with `one_view`, the picture alone. `done` takes how many are answered.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise TypeError("images must be uint8 [N, 28, 28], not %s %s"
                        % (images.dtype, list(images.shape)))

    def mean(views):
        return sum(session.run(model.probabilities, {model.images: view})
                   for view in views) / len(views)

    answers = []
    for start in range(0, len(images), 500):
        batch = images[start:start + 500]
        answer = mean([batch] if one_view else with_mirrored([batch]))
        doubtful = answer.max(axis=1) < DOUBT
        if doubtful.any() and not one_view:
            again = mean(with_mirrored(moved(batch[doubtful])))
            answer[doubtful] = (answer[doubtful] + again) / 2
        answers.append(answer)
        done(len(batch))
    return np.concatenate(answers)


def moved(images):
    """Return uint8 [N,28,28] moved by a pixel down, up, right and left, black coming in."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), "constant")
    return [padded[:, row:row + 28, column:column + 28]
            for row, column in ((0, 1), (2, 1), (1, 0), (1, 2))]


def with_mirrored(views):
    """Return the views, each uint8 [N,28,28], and their mirror images."""
    return views + [view[:, :, ::-1] for view in views]


def report(answers, labels, name):
    """Print the accuracy and a table by class of answers float32 [N,10] to labels uint8 [N]."""
    counts = reports.confusion_matrix(labels, answers.argmax(axis=1))
    say("\n".join([""] + reports.class_table(counts, CLASS_NAMES) + [""]))
    say("%s accuracy: %.2f %% (%d of %d are wrong)" % (
        name, 100 * reports.accuracy(counts), len(labels) - counts.trace(), len(labels)))


def evaluate(folder, image_dir, test_set):
    """Print the test accuracy and the table by class of the weights in `folder`, and draw."""
    images, labels = test_set
    model, session, history = load_network(folder)
    console.writable_folder(image_dir)
    with session, console.progress(len(images), "image") as bar:
        answers = probabilities(session, model, images, done=bar.update)
    report(answers, labels, "Test")
    from figures.ex02 import draw_all
    draw_all(image_dir, history, images, labels, answers, CLASS_NAMES)


# ---- Command line ----
def parse(arguments=None):
    """Return (recipe, options) of a command line; wrong usage ends the program, exit code 2."""
    parser = console.Parser(prog="ex02_fashion_cnn.py", description="A convolutional "
                                     "network on Fashion-MNIST: trains, evaluates, draws.")
    option = parser.add_argument
    alone = parser.add_mutually_exclusive_group().add_argument
    alone("--evaluate", action="store_true", help="only evaluate the saved weights and draw")
    alone("--validation", action="store_true", help="train without the last %d training pictures "
           "and report on these; nothing is saved" % VALIDATION_SIZE)
    add_training_options(parser, "fashion")
    add_recipe_options(parser, RECIPES, "default")
    parser.set_defaults(precision=fastest("bfloat16"), checkpoint_dir=None)
    option("--data-dir", metavar="DIR", help="folder or Keras home with the Fashion-MNIST files "
           "(default: $KERAS_HOME, else ~/.keras, where they are downloaded if need be)")
    options = parser.parse_args(arguments)
    options.checkpoint_dir = options.checkpoint_dir or (RELEASE if options.evaluate else RUN)
    options.image_dir = options.output_dir or options.checkpoint_dir
    return chosen_recipe(parser, options, RECIPES), options


def main(arguments=None):
    """Train, unless --evaluate; then evaluate what is saved and draw."""
    recipe, options = parse(arguments)
    (images, labels), test_set = load_data(options.data_dir)
    if not options.evaluate:
        console.writable_folder(options.image_dir)  # before minutes of training, not after
    if options.validation:
        split = len(images) - VALIDATION_SIZE
        if split < 1:
            raise UserError("--validation holds out %d pictures, there are no more." % len(images))
        train(recipe, options, (images[:split], labels[:split]), (images[split:], labels[split:]))
        return
    if not options.evaluate:
        train(recipe, options, (images, labels), test_set)
    evaluate(options.checkpoint_dir, options.image_dir, test_set)


if __name__ == "__main__":
    console.run(main)
