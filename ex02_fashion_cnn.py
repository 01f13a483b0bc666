#!/usr/bin/env python3
"""Exercise 2: the prescribed convolutional network on Fashion-MNIST, in TensorFlow 1 graph mode.

    python ex02_fashion_cnn.py                     train: 94.47 % test accuracy, mean of three seeds
    python ex02_fashion_cnn.py --recipe best       a larger network, in 50 epochs
    python ex02_fashion_cnn.py --teachers DIR      learn from trained networks as well
    python ex02_fashion_cnn.py --evaluate          the released weights: 95.47 %, in a minute
    python ex02_fashion_cnn.py --predict IMAGE     your own photograph of a garment

The same command resumes an interrupted training. Layers and their order are the exercise's; all
else was chosen on held-out training pictures (--validation; docs/experiments.md).
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib", "tf_keras")

import dataclasses
import json
import types
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from support import arguments, checkpoint, console, idx, photograph, reports
from support.arguments import setting
from support.console import UserError, postponed_interrupts, say
from support.run_state import RunState, Saved, diverged
from support.summaries import open_summaries, write_scalars
from support.tf1 import all_finite, fastest, kept_in_float32, quiet_stderr, tf


# ---- Hyper-parameters ----
@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides the weights, apart from the data: value, range, meaning. All are options.

    The ranges keep every layer below 2 GB of weights; TensorFlow would crash on more.
    """

    epochs: int = setting(12, (1, 10000), "Passes over the training set")
    seed: int = setting(1, (0, 10 ** 8), "Seed of all random numbers")
    filters: tuple = setting((32, 64, 128), (1, 1024), "Filters of the three convolutions")
    kernel_sizes: tuple = setting((5, 3, 3), (1, 15), "Sides of the convolution kernels, in pixels")
    dense_units: int = setting(256, (1, 8192), "Units of the dense layer")
    batch_size: int = setting(256, (1, 60000), "Pictures per step")
    learning_rate: float = setting(0.05, (1e-9, 1e30), "Learning rate of Muon, which trains the "
                                   "kernels, at the beginning; it falls to zero")
    momentum: float = setting(0.8, (0, 1), "Momentum of Muon")
    sgd_learning_rate: float = setting(0.1, (1e-9, 1e30), "Learning rate of SGD, which trains all "
                                       "the rest, at the beginning")
    sgd_momentum: float = setting(0.9, (0, 1), "Momentum of SGD (Nesterov)")
    weight_decay: float = setting(5e-4, (0, 1), "L2 penalty of the output layer's kernel")
    label_smoothing: float = setting(0.1, (0, 0.99), "Label smoothing")  # arXiv 1512.00567
    distillation: float = setting(0.7, (0, 1), "Weight of the teachers' probabilities, where "
                                  "there are --teachers, against that of the labels")
    warp: float = setting(0.5, (0, 10), "Strength of random affine maps; 0 turns them off")
    erase_prob: float = setting(0.2, (0, 1), "Probability of random erasing, per picture")
    erase_sides: tuple = setting((3, 12), (1, 28), "Smallest and largest side of an erased "
                                 "rectangle, in pixels")  # Zhong et al., arXiv 1708.04896
    precision: str = setting("bfloat16", ("float32", "bfloat16"), "Precision of training; the "
                             "default is float32 where the processor has no bfloat16 units")

    def __post_init__(self):
        arguments.check_settings(self)
        if self.erase_sides[0] > self.erase_sides[1]:
            raise ValueError("--erase-sides: the smallest side comes first")


RECIPES = {"default": Recipe(),
           # The released weights: this, taught by three of it that had 20 epochs (--teachers). The
           # augmentation was chosen on held-out pictures, the length by the time that there was.
           "best": Recipe(epochs=50, filters=(96, 192, 384), warp=1.0, erase_prob=0.3)}


# ---- Data ----
RELEASE, RUN = arguments.checkpoint_folders("fashion")
CLASS_NAMES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress',
               'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']
PIXEL_MEAN, PIXEL_STD = 72.94, 90.02  # of the training pictures, on the scale 0 to 255
TTA_THRESHOLD = 0.6  # below this probability more views of a picture are averaged


def load_data(data_dir=None):
    """Return Fashion-MNIST, (images uint8 [N,28,28], labels uint8 [N]) of training and test set.

    It is read from `data_dir` or the Keras home, into which Keras downloads it if need be.
    """
    return idx.load(data_dir, "fashion-mnist", lambda: tf.keras.datasets.fashion_mnist.load_data)


# ---- Augmentation ----
def flip(images, seed, epoch):
    """Flip half of the images, the other half in the next epoch (Jordan, arXiv 2404.00498)."""
    coin = np.random.RandomState(seed).randint(0, 2, len(images))
    return np.where(((coin + epoch) % 2 == 1)[:, None, None], images[:, :, ::-1], images)


def warp(images, strength, rng):
    """Rotate, scale, shear and shift 80 % of uint8 [N,28,28], in place, and return them.

    Affine maps about the centre, bilinear (Simard et al., ICDAR 2003). At strength 1 each amount
    is uniform: up to 6 degrees, a scale of e ** 0.08 per axis, a shear of 0.08, a pixel.
    """
    chosen = np.flatnonzero(rng.random_sample(len(images)) < 0.8)
    most = strength * np.array([np.deg2rad(6), 0.08, 0.08, 0.08, 1, 1])
    angle, wider, higher, shear, right, down = most[:, None] * rng.uniform(-1, 1, (6, len(chosen)))
    across = np.cos(angle) / np.exp(wider), np.sin(angle) / np.exp(wider) + shear
    along = -np.sin(angle) / np.exp(higher), np.cos(angle) / np.exp(higher)
    maps = np.stack([*across, 14 - 14 * sum(across) + right, *along, 14 - 14 * sum(along) + down])
    for number, coefficients in zip(chosen, maps.T.tolist()):
        images[number] = Image.fromarray(images[number]).transform(
            (28, 28), Image.AFFINE, coefficients, Image.BILINEAR)
    return images


def erase(images, prob, sides, rng):
    """Fill a random rectangle of uint8 [N,28,28] with a random grey, in place, and return them."""
    chosen = np.flatnonzero(rng.random_sample(len(images)) < prob)
    size = rng.randint(sides[0], sides[1] + 1, (2, len(chosen), 1))
    start = rng.randint(0, 28, (2, len(chosen), 1)) - size // 2
    rows, columns = (np.arange(28) >= start) & (np.arange(28) < start + size)
    grey = rng.randint(0, 256, (len(chosen), 1, 1)).astype(np.uint8)
    images[chosen] = np.where(rows[:, :, None] & columns[:, None, :], grey, images[chosen])
    return images


def epoch_data(images, labels, recipe, epoch):
    """Return images uint8 [N,28,28] and labels [N] of an epoch; they depend on (seed, epoch)."""
    rng = np.random.RandomState([recipe.seed, epoch])
    order = rng.permutation(len(images))
    shown = flip(images, recipe.seed, epoch)[order]
    if recipe.warp:
        shown = warp(shown, recipe.warp, rng)
    return erase(shown, recipe.erase_prob, recipe.erase_sides, rng), labels[order]


# ---- Network ----
def network(images, recipe, training=False, precision="float32"):
    """Return logits float32 [N,10] of images uint8 [N,28,28], and the feature maps.

    Maps: of the convolutions, [N,28,28,F], [N,14,14,F], [N,7,7,F]. Pooling comes before
    normalisation and ReLU: the same but for negative scales, and a quarter of the work.
    """
    def initializer(layer):  # He et al., arXiv 1502.01852; no layer's depends on another's
        return tf.variance_scaling_initializer(2.0, "fan_in", seed=recipe.seed * 10 + layer)

    def conv(x, layer):
        return tf.layers.conv2d(
            x, recipe.filters[layer], recipe.kernel_sizes[layer], padding="same", use_bias=False,
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
        x = tf.layers.dense(x, recipe.dense_units, use_bias=False,
                            kernel_initializer=initializer(3), name="dense")
        logits = tf.layers.dense(tf.cast(norm_relu(x), tf.float32), 10, name="output",
                                 kernel_initializer=initializer(4))
    return logits, [conv1, conv2, conv3]


def is_kernel(name):
    """Return whether a variable of this name is the kernel of a layer."""
    return name.endswith("kernel")


def inference_graph(recipe, precision="float32"):
    """Return a namespace: the network for inference, its kernels float16, in a graph of its own."""
    with tf.Graph().as_default() as graph, checkpoint.for_inference(is_kernel):
        images = tf.placeholder(tf.uint8, [None, 28, 28], name="images")
        logits, feature_maps = network(images, recipe, precision=precision)
        return types.SimpleNamespace(graph=graph, images=images, feature_maps=feature_maps,
                                     probabilities=tf.nn.softmax(logits, name="probabilities"))


# ---- Loss and optimizers ----
def training_graph(recipe, steps, teachers=()):
    """Return a namespace: the network, its loss and one of `steps` steps of training.

    In: images uint8 [N,28,28], labels int32 [N], training bool []. Out: loss and accuracy of the
    batch; `train` takes the step and returns whether the loss and the new weights are finite.
    `teachers`, as `frozen_network` returns them, see the same images.
    """
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(recipe.seed)
        images = tf.placeholder(tf.uint8, [None, 28, 28], name="images")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        training = tf.placeholder_with_default(False, [], name="training")
        step = tf.train.get_or_create_global_step()
        logits, _ = network(images, recipe, training, recipe.precision)
        weights = tf.global_variables("network")  # before the optimizers add their own

        loss = tf.losses.softmax_cross_entropy(tf.one_hot(labels, 10), logits,
                                               label_smoothing=recipe.label_smoothing)
        if teachers:  # Hinton et al., arXiv 1503.02531; of the same views: Beyer et al., 2106.05237
            taught = [tf.import_graph_def(frozen, {"images": images}, ["probabilities:0"],
                                          name="teacher")[0] for frozen in teachers]
            loss += recipe.distillation * (tf.losses.softmax_cross_entropy(
                tf.add_n(taught) / len(taught), logits) - loss)
        remaining = 1 - tf.cast(step, tf.float32) / steps
        update = optimise(loss, remaining, step, recipe)
        right = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels)
        return types.SimpleNamespace(
            graph=graph, images=images, labels=labels, training=training, loss=loss,
            train=all_finite(update, loss, weights),
            accuracy=tf.reduce_mean(tf.cast(right, tf.float32)),
            probabilities=tf.nn.softmax(logits), initialise=tf.global_variables_initializer(),
            weights=weights, state_saver=tf.train.Saver())


def optimise(loss, remaining, step, recipe):
    """Return the operation that trains one step: Muon for the kernels, SGD for all the rest.

    Muon needs a batch normalisation behind each kernel, so the output layer's is SGD's. The
    learning rates are multiplied by `remaining`, float32 []; `step` is incremented.
    """
    from support.muon import MuonOptimizer, minimise  # here: it imports TensorFlow
    trained = tf.trainable_variables()
    *muon, output = [v for v in trained if is_kernel(v.op.name)]
    sgd = [output] + [v for v in trained if not is_kernel(v.op.name)]
    return minimise(loss + recipe.weight_decay * tf.nn.l2_loss(output), [
        (MuonOptimizer(recipe.learning_rate * remaining, recipe.momentum, recipe.precision), muon),
        (tf.train.MomentumOptimizer(recipe.sgd_learning_rate * remaining, recipe.sgd_momentum,
                                    use_nesterov=True), sgd)], step)


# ---- Loop ----
def train(recipe, options, training_set, held_out, name):
    """Train, or resume an interrupted training, and save the weights in options.checkpoint_dir.

    Each set is (images uint8 [N,28,28], labels uint8 [N]). The accuracy on `held_out`, called
    `name`, is printed after each epoch and decides nothing. Raises Interrupted on Ctrl-C, SIGTERM.
    """
    images, labels = training_set
    epoch_steps = len(images) // recipe.batch_size
    if not epoch_steps:
        raise UserError("%s%d: that leaves %d pictures to train on, fewer than a batch of %d." % (
            "--validation " if options.validation else "--batch-size ",
            options.validation or recipe.batch_size, len(images), recipe.batch_size))
    named = {checkpoint.name(folder): folder for folder in options.teachers}
    settings = dict(dataclasses.asdict(recipe), data=zlib.crc32(labels, zlib.crc32(images)),
                    init=options.init and checkpoint.name(options.init), teachers=sorted(named))
    steps = epoch_steps * recipe.epochs
    state = RunState(options.checkpoint_dir, settings, steps, options.save_every)
    if state.finished(options.fresh):
        return
    teachers = [frozen_network(named[name], recipe.precision) for name in sorted(named)]
    model = training_graph(recipe, steps, teachers)
    with tf.Session(graph=model.graph) as session, postponed_interrupts() as state.interrupts:
        saved = state.resume(session, model.state_saver)
        if not saved:
            session.run(model.initialise)
            if options.init:
                checkpoint.load_values(options.init, session, model.weights)
            saved = Saved(0, {"history": [], "sums": [0, 0]}, {})
        say("Training for %d epochs of %d pictures, seed %d: %d steps."
            % (recipe.epochs, len(images), recipe.seed, steps - saved.step))
        notes = saved.notes
        writer = open_summaries(options.logdir, notes, model.graph)
        with console.progress(steps, "step", saved.step) as bar:
            for batch in batches(images, labels, recipe, saved.step):
                train_step(session, model, saved, batch)
                seen = (saved.step - 1) % epoch_steps + 1
                bar.set_postfix(loss=notes["sums"][0] / seen, refresh=False)
                bar.update()
                if seen == epoch_steps:
                    end_epoch(session, model, notes, held_out, epoch_steps, name)
                    writer = write_scalars(writer, notes["history"][-1], len(notes["history"]))
                state.keep(session, model.state_saver, saved, due=seen == epoch_steps)
        state.finish(saved, checkpoint.meta_graph(inference_graph(recipe).graph),
                     checkpoint.values_of(session, model.weights))


def batches(images, labels, recipe, start):
    """Yield images and labels of each step from `start` on; the next epoch is made meanwhile."""
    size = recipe.batch_size
    steps = len(images) // size
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(epoch_data, images, labels, recipe, start // steps)
        for epoch in range(start // steps, recipe.epochs):
            shown = coming.result()
            coming = pool.submit(epoch_data, images, labels, recipe, epoch + 1)
            for step in range(max(start, epoch * steps), (epoch + 1) * steps):
                first = step % steps * size
                yield [whole[first:first + size] for whole in shown]


def train_step(session, model, saved, batch):
    """Train one step; count it, and add its loss and accuracy to the sums of the epoch."""
    feed = {model.images: batch[0], model.labels: batch[1], model.training: True}
    loss, accuracy, finite = session.run([model.loss, model.accuracy, model.train], feed)
    saved.step += 1
    if not finite:
        raise diverged(saved.step, loss)
    sums = saved.notes["sums"]
    sums[:] = sums[0] + float(loss), sums[1] + float(accuracy)


def end_epoch(session, model, notes, held_out, steps, name):
    """Add the epoch's means and its accuracy on `held_out` to the history, and print them."""
    predicted = probabilities(session, model, held_out[0], one_view=True).argmax(axis=1)
    line = {"loss": notes["sums"][0] / steps, "accuracy": notes["sums"][1] / steps,
            "held_out": float(np.mean(predicted == held_out[1]))}
    notes["history"].append(line)
    notes["sums"] = [0, 0]
    say("epoch %2d: loss %.4f, accuracy %.2f %%, %s %.2f %%" % (
        len(notes["history"]), line["loss"], 100 * line["accuracy"], name, 100 * line["held_out"]))


# ---- Inference ----
def load_network(folder, precision="float32"):
    """Return (model, session, notes) of a checkpoint; the notes have "settings" and "history"."""
    def restore(prefix):
        notes = reports.read_notes(prefix + ".json", ("loss", "accuracy", "held_out"))
        model = inference_graph(shape(notes), precision)
        session = tf.Session(graph=model.graph)
        with model.graph.as_default():
            tf.train.Saver().restore(session, prefix)
        return model, session, notes

    return checkpoint.load(folder, restore, expected=(".json",),
                           maker=console.command("python ex02_fashion_cnn.py", folder, RUN),
                           release=RELEASE)


def shape(notes):
    """Return a `Recipe` of the shape of the network that a checkpoint's notes are about."""
    return Recipe(**{name: notes["settings"].get(name)
                     for name in ("filters", "kernel_sizes", "dense_units")})


def frozen_network(folder, precision):
    """Return a checkpoint's network as a GraphDef whose weights are constants.

    Its placeholder is "images:0", its result "probabilities:0", computed in `precision`.
    """
    model, session, _ = load_network(folder, precision)
    with session, quiet_stderr():  # as `checkpoint.save_weights` has it
        return tf.graph_util.convert_variables_to_constants(
            session, model.graph.as_graph_def(), ["probabilities"])


def probabilities(session, model, images, one_view=False, done=lambda count: None):
    """Return class probabilities float32 [N,10] of images uint8 [N,28,28].

    The mean over an image and its flipped view. Where no class reaches TTA_THRESHOLD, the views
    shifted by a pixel each way count as much as these. Or, with `one_view`, the image alone.
    `done` is called with the number of images after each batch.
    """
    def mean(views):
        return sum(session.run(model.probabilities, {model.images: view})
                   for view in views) / len(views)

    results = []
    for start in range(0, len(images), 500):
        batch = images[start:start + 500]
        result = mean([batch] if one_view else views(batch, [(0, 0)]))
        doubtful = result.max(axis=1) < TTA_THRESHOLD
        if doubtful.any() and not one_view:
            more = mean(views(batch[doubtful], [(-1, 0), (1, 0), (0, -1), (0, 1)]))
            result[doubtful] = (result[doubtful] + more) / 2
        results.append(result)
        done(len(batch))
    return np.concatenate(results)


def views(images, offsets):
    """Return uint8 [N,28,28] shifted by each (row, column) in pixels, and these flipped, a list."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), "constant")
    shifted = [padded[:, 1 + row:29 + row, 1 + column:29 + column] for row, column in offsets]
    return shifted + [view[:, :, ::-1] for view in shifted]


def evaluate(options, test_set, name):
    """Print the accuracy of the weights on a set, class by class, and draw the pictures."""
    from figures.ex02 import draw_all
    images, labels = test_set
    model, session, notes = load_network(options.checkpoint_dir)
    with session, console.progress(len(images), "image") as bar:
        predicted = probabilities(session, model, images, done=bar.update)
    say(reports.class_report(labels, predicted.argmax(axis=1), CLASS_NAMES, name))
    draw_all(options.output_dir, notes["history"], images, labels, predicted, CLASS_NAMES, name)


def predict(folder, paths):
    """Print the class of each photograph, by the weights in `folder`; return the exit code."""
    images = photograph.read_all(paths)  # [(path, image)]
    model, session, _ = load_network(folder)
    for path, image in images:
        classes = probabilities(session, model, image[np.newaxis])[0]
        say("%s: %s %.1f %%" % (console.printable(path), CLASS_NAMES[classes.argmax()],
                                100 * classes.max()))
    return int(len(images) < len(paths))


def release(folder):
    """Verify the weights in `folder` and make them the released ones."""
    model, session, notes = load_network(folder)
    checkpoint.save_weights(
        RELEASE, checkpoint.meta_graph(inference_graph(shape(notes)).graph),
        checkpoint.values_of(session, model.graph.get_collection("variables")),
        {".json": json.dumps(notes, indent=1).encode()})
    say("Released the weights of %s. To draw their pictures: "
        "python ex02_fashion_cnn.py --evaluate --output-dir images" % folder)


# ---- Command line ----
def parse(command_line=None):
    """Return (recipe, options) of a command line; wrong usage ends the program, exit code 2."""
    parser = console.Parser(
        prog="ex02_fashion_cnn.py", usage="%(prog)s [options]", description="Train a network on "
        "Fashion-MNIST and evaluate it. The same command resumes an interrupted training.")
    mode = arguments.add_training_options(parser, RUN, "Fashion-MNIST").add_argument
    parser.add_argument("--validation", metavar="N", type=arguments.whole_number(0, 59999),
                        default=0, help="Train without the last N training pictures, and evaluate "
                        "on them instead of on the test set.")
    mode("--evaluate", action="store_true", help="Evaluate weights on the test set and draw "
         "pictures; by default the released weights.")
    mode("--predict", metavar="IMAGE", nargs="+", help="Classify photographs of one garment each, "
         "on a plain background; by default with the released weights.")
    arguments.add_recipe_options(parser, RECIPES, "default")
    parser.set_defaults(precision=fastest("bfloat16"))
    options = parser.parse_args(command_line)
    if options.evaluate or options.predict or options.release:
        for name in "validation", "teachers", "init":
            if getattr(options, name):
                parser.error("--%s is for training" % name)
    default = RELEASE if options.evaluate or options.predict else RUN
    default += "-validation" * bool(options.validation)
    arguments.choose_folders(options, default, RELEASE, RUN)
    return arguments.chosen_recipe(parser, options, RECIPES), options


def main(command_line=None):
    recipe, options = parse(command_line)
    if options.predict:
        return predict(options.checkpoint_dir, options.predict)
    if options.release:
        return release(options.checkpoint_dir)
    console.writable_folder(options.output_dir)  # before minutes of training, not after
    training_set, held_out = load_data(options.data_dir)
    if options.validation:
        training_set, held_out = zip(*[(whole[:-options.validation], whole[-options.validation:])
                                       for whole in training_set])
    name = "validation" if options.validation else "test"
    if not options.evaluate:
        train(recipe, options, training_set, held_out, name)
    evaluate(options, held_out, name)
    if not options.evaluate:
        say("To classify a photograph: %s --predict IMAGE"
            % console.command("python ex02_fashion_cnn.py", options.checkpoint_dir, RELEASE))


if __name__ == "__main__":
    console.run(main)
