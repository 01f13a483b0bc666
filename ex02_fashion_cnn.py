#!/usr/bin/env python3
"""Exercise 2: the prescribed convolutional network on Fashion-MNIST, in TensorFlow 1 graph mode.

    python ex02_fashion_cnn.py                 train: 94.06 % test accuracy, mean of three seeds, in 12 minutes
    python ex02_fashion_cnn.py --evaluate      the saved weights: 94.48 %, in seconds
    python ex02_fashion_cnn.py --recipe best   how these were made, in 72 minutes

Layers and their order are the exercise's: conv, max-pool, conv, max-pool, conv, dense, output.
Sizes, strides, normalisation, augmentation and schedule are the hyper-parameters below; they were
chosen on 5,000 held-out training pictures (--validation). One file, as each exercise stands alone.
"""
import argparse
import concurrent.futures
import contextlib
import gzip
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import types
import warnings

# ---------------------------------------------------------------------------- hyper-parameters
RECIPES = {                     # what differs: width, length and how many pictures are erased in part
    "default": dict(filters=(32, 64, 128), dense_units=256, epochs=30, erase_probability=0.2),
    "best": dict(filters=(64, 128, 256), dense_units=256, epochs=60, erase_probability=0.5),
}
KERNEL_SIZES = (5, 3, 3)        # of the three convolutions
BATCH_SIZE = 256
PEAK_LEARNING_RATE = 0.1        # reached after WARM_UP of the steps, then straight down to zero
WARM_UP = 0.15
MOMENTUM = 0.9                  # Nesterov
WEIGHT_DECAY = 5e-4             # L2 on kernels only, not on biases and batch-norm's scales
LABEL_SMOOTHING = 0.1           # Szegedy et al., arXiv 1512.00567
DROPOUT_FEATURES = 0.4          # before the dense layer
DROPOUT_DENSE = 0.3             # before the output layer
SHIFT = 0                       # pixels at most, up, down, left and right
ERASE_SIDES = (3, 12)           # pixels, smallest and largest: random erasing, Zhong et al., arXiv 1708.04896
PIXEL_MEAN, PIXEL_STD = 72.94, 90.02  # of the training pictures, on the scale 0 to 255
VALIDATION_SIZE = 5000          # the last pictures of the training set
# --------------------------------------------------------------------------------------------

CLASS_NAMES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress',
               'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']
DATA_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
              "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
TRAIN_COMMAND = "python ex02_fashion_cnn.py"
HERE = os.path.dirname(os.path.abspath(__file__))


def fail(sentence, code=1):
    """Ends the program with one sentence on stderr. Codes: 2 no usable checkpoint or wrong usage, 1 otherwise."""
    print("ex02_fashion_cnn.py: error: " + sentence, file=sys.stderr)
    sys.exit(code)


# ================================================================================== command line
def whole_number(smallest, largest):
    """An argparse type: an integer from smallest to largest."""
    def parse(text):
        if not text.isdigit() or not smallest <= int(text) <= largest:
            raise argparse.ArgumentTypeError("%r is not a whole number from %d to %d" % (text, smallest, largest))
        return int(text)
    return parse


def parse_arguments(arguments=None):
    """The command line -> namespace. Wrong usage ends the program with a sentence, code 2."""
    lengths = ", ".join("%s %d" % (name, RECIPES[name]["epochs"]) for name in sorted(RECIPES))
    parser = argparse.ArgumentParser(prog="ex02_fashion_cnn.py", description="The prescribed convolutional "
                                     "network on Fashion-MNIST: trains, evaluates, draws.")
    option = parser.add_argument
    option("--evaluate", action="store_true", help="evaluate the saved weights without training, redraw the pictures")
    option("--resume", action="store_true", help="go on with an interrupted run (give the same settings)")
    option("--recipe", choices=sorted(RECIPES), default="default",
           help="width, length and erasing (default: %(default)s)")
    option("--epochs", type=whole_number(1, 10000), help="passes over the training set (default: %s)" % lengths)
    option("--seed", type=whole_number(0, 10 ** 8), default=1, help="same seed, same weights (default: %(default)s)")
    option("--validation", action="store_true", help="to choose settings: train without the last %d training pictures "
           "and report on these; nothing is saved or drawn" % VALIDATION_SIZE)
    option("--data-dir", metavar="DIR", help="folder or Keras home with the four Fashion-MNIST files "
           "(default: $KERAS_HOME, else ~/.keras, where they are downloaded to if need be)")
    option("--checkpoint-dir", metavar="DIR", default=os.path.join(HERE, "checkpoints", "fashion"),
           help="weights; in state/ what --resume needs (default: %(default)s)")
    option("--image-dir", metavar="DIR", default=os.path.join(HERE, "images"),
           help="where the pictures are drawn (default: %(default)s)")
    option("--logdir", metavar="DIR", help="write summaries for TensorBoard there (default: none)")
    parsed = parser.parse_args(arguments)
    if parsed.evaluate and (parsed.resume or parsed.validation) or parsed.resume and parsed.validation:
        parser.error("--evaluate, --resume and --validation exclude each other")
    parsed.epochs = parsed.epochs or RECIPES[parsed.recipe]["epochs"]
    return parsed


# ================================================================================== TensorFlow
if __name__ == "__main__":
    ARGUMENTS = parse_arguments()  # before seconds of import: --help and a slip of the finger are answered at once
    SIGINT_HANDLER = signal.getsignal(signal.SIGINT)
    if SIGINT_HANDLER is signal.default_int_handler:  # its exception may come out of an import as another one
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # so until main() Ctrl-C just ends the process

# The one place that makes a file written for TensorFlow 1 run on 1.15 and on 2.x: tf.layers lives in
# tf-keras there, and is only found if this is set before the first import.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
warnings.filterwarnings("ignore", category=FutureWarning)  # of 1.15, about NumPy
warnings.filterwarnings("ignore", message=".*tf.layers.*")  # of 2.x: "deprecated"


@contextlib.contextmanager
def silent_unless_it_fails():
    """Holds back what C++ writes to stderr, which no log level does for 2.x; an exception lets it out."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as talk:
        stderr = os.dup(2)
        os.dup2(talk.fileno(), 2)
        try:
            yield
        except BaseException:
            talk.seek(0)
            os.write(stderr, talk.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


with silent_unless_it_fails():
    import tensorflow.compat.v1 as tf
    tf.Session(graph=tf.Graph()).close()  # the first session looks for GPUs, and talks about it

import matplotlib
import numpy as np
from tqdm import tqdm

matplotlib.use("Agg")  # draws into files, needs no display
import matplotlib.pyplot as plt

tf.logging.set_verbosity(tf.logging.ERROR)
tf.disable_eager_execution()  # graphs and sessions, as in 1.x
tf.enable_resource_variables()  # as in 2.x: both then compute the same


# ================================================================================== data
def read_idx(path):
    """One idx file (format: the MNIST page of Y. LeCun) -> uint8 array of the shape in its header.

    Raises ValueError (OSError, EOFError from gzip) if the file is not what its header says.
    """
    with gzip.open(path, "rb") as file:
        content = file.read()
    dimensions = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4) if dimensions else [-1]
    pixels = np.frombuffer(content, np.uint8, offset=min(4 + 4 * dimensions, len(content)))
    if not dimensions or pixels.size != np.prod(shape):
        raise ValueError("not a complete idx file of unsigned bytes")
    return pixels.reshape(shape)


def data_folder(data_dir):
    """The folder that holds the four files: data_dir itself, or below it as in a Keras home; None if none does."""
    for folder in ("", "fashion-mnist", os.path.join("datasets", "fashion-mnist")):
        folder = os.path.join(data_dir, folder)
        if os.path.isfile(os.path.join(folder, DATA_FILES[0])):
            return folder
    return None


def load_data(data_dir=None):
    """Fashion-MNIST -> ((images, labels), (images, labels)), training and test set.

    images uint8 [N, 28, 28], 0 to 255; labels uint8 [N], 0 to 9.

    Read from data_dir, or from $KERAS_HOME, which load_data() of 1.15 and of tf-keras does not look
    at; otherwise keras.datasets.fashion_mnist.load_data() reads ~/.keras or downloads into it.
    Missing or damaged files end the program with a sentence (exit code 1).
    """
    home = data_dir or os.environ.get("KERAS_HOME")
    folder = data_folder(os.path.expanduser(home)) if home else None
    if data_dir and not folder:
        fail("no Fashion-MNIST in %s: put %s there, or leave --data-dir out to download it"
             % (data_dir, ", ".join(DATA_FILES)))
    try:
        if folder:
            arrays = [read_idx(os.path.join(folder, name)) for name in DATA_FILES]
        else:
            from tensorflow import keras  # here, since only this branch needs its second of import
            fashion_mnist = keras.datasets.fashion_mnist
            with contextlib.redirect_stdout(sys.stderr):  # it talks while it downloads
                (train_images, train_labels), (test_images, test_labels) = fashion_mnist.load_data()
            arrays = [train_images, train_labels, test_images, test_labels]
        for images, labels in (arrays[:2], arrays[2:]):
            if images.shape != (len(labels), 28, 28) or not len(labels) or labels.max() > 9:
                raise ValueError("pictures and labels do not belong together")
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        fail("Fashion-MNIST cannot be read from %s (%s): put %s into a folder and name it with --data-dir"
             % (folder or "~/.keras", str(error).split("\n")[0], ", ".join(DATA_FILES)))
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


# ================================================================================== augmentation
def flip(images, seed, epoch):
    """Mirrors half of the pictures, and the other half in the next epoch. uint8 [N, 28, 28] -> same.

    Each pair of epochs shows every picture both ways, where independent coins would show a quarter of
    them twice the same: alternating flip, Jordan, arXiv 2404.00498. In the order of the data set.
    """
    coin = np.random.RandomState(seed).randint(0, 2, len(images))
    return np.where(((coin + epoch) % 2 == 1)[:, None, None], images[:, :, ::-1], images)


def shift(images, rng):
    """Moves each picture by up to SHIFT pixels in x and in y; black comes in. uint8 [N, 28, 28] -> same."""
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="constant")
    offsets = rng.randint(0, 2 * SHIFT + 1, (len(images), 2))
    shifted = np.empty_like(images)
    for y in range(2 * SHIFT + 1):  # one slice for each of the 25 moves is faster than a gather
        for x in range(2 * SHIFT + 1):
            chosen = np.flatnonzero((offsets[:, 0] == y) & (offsets[:, 1] == x))
            shifted[chosen] = padded[chosen, y:y + 28, x:x + 28]
    return shifted


def erase(images, probability, rng):
    """Fills a random rectangle with a random grey, in each picture with this probability.

    uint8 [N, 28, 28] -> same, in place.
    """
    chosen = np.flatnonzero(rng.random_sample(len(images)) < probability)
    size = rng.randint(ERASE_SIDES[0], ERASE_SIDES[1] + 1, (2, len(chosen), 1))
    start = rng.randint(0, 28, (2, len(chosen), 1)) - size // 2
    rows, columns = (np.arange(28) >= start) & (np.arange(28) < start + size)
    grey = rng.randint(0, 256, (len(chosen), 1, 1)).astype(np.uint8)
    images[chosen] = np.where(rows[:, :, None] & columns[:, None, :], grey, images[chosen])
    return images


def epoch_data(images, labels, erase_probability, seed, epoch):
    """The training set as epoch shows it: augmented, in random order. uint8 [N, 28, 28], [N] -> same.

    Its randomness depends on (seed, epoch) alone, so that a run that was interrupted and resumed is the same run.
    """
    rng = np.random.RandomState([seed, epoch])  # its stream is frozen: the same in every NumPy
    order = rng.permutation(len(images))
    return erase(shift(flip(images, seed, epoch)[order], rng), erase_probability, rng), labels[order]


# ================================================================================== network
def dropout(inputs, rate, training, seed):
    """Inverted dropout (Srivastava et al., JMLR 15, 2014) whose mask depends on seed alone.

    tf.layers.dropout draws from a generator with a state, which no checkpoint saves: a resumed run
    would drop other units than the undisturbed one.
    """
    if training is False:
        return inputs
    rate *= tf.cast(training, tf.float32)
    kept = tf.random.stateless_uniform(tf.shape(inputs), seed=seed) >= rate
    return inputs * tf.cast(kept, tf.float32) / (1 - rate)


def network(images, filters, dense_units, training=False, seed=0, step=0):
    """The prescribed layers. images uint8 [N, 28, 28] -> logits float32 [N, 10], feature maps.

    Feature maps: the outputs of the three convolutions, float32 [N, 28, 28, F1], [N, 14, 14, F2],
    [N, 7, 7, F3]. training: False, or a bool tensor (batch norm and dropout depend on it). seed
    gives the initial weights, (seed, step) the dropout masks.

    Normalisation and ReLU come after a pooling, not before: the same function but for negative
    scales, for a quarter of the work (as in Jordan, arXiv 2404.00498).
    """
    def initializer(layer):  # He et al., arXiv 1502.01852; seeded by layer: no drawing depends on another
        return tf.variance_scaling_initializer(2.0, "fan_in", seed=seed * 10 + layer)

    def norm_relu(x):  # Ioffe and Szegedy, arXiv 1502.03167
        return tf.nn.relu(tf.layers.batch_normalization(x, momentum=0.9, epsilon=1e-5, training=training))

    def conv(x, layer):
        return tf.layers.conv2d(x, filters[layer], KERNEL_SIZES[layer], padding="same", use_bias=False,
                                kernel_initializer=initializer(layer), name="conv%d" % (layer + 1))

    with tf.variable_scope("network"):
        x = (tf.cast(images, tf.float32)[..., tf.newaxis] - PIXEL_MEAN) / PIXEL_STD
        x = conv1 = conv(x, 0)
        x = norm_relu(tf.layers.max_pooling2d(x, 2, 2, name="pool1"))
        x = conv2 = conv(x, 1)
        x = norm_relu(tf.layers.max_pooling2d(x, 2, 2, name="pool2"))
        x = conv3 = conv(x, 2)
        x = tf.layers.flatten(norm_relu(x))
        x = dropout(x, DROPOUT_FEATURES, training, [seed, 2 * step])
        x = tf.layers.dense(x, dense_units, use_bias=False, kernel_initializer=initializer(3), name="dense")
        x = dropout(norm_relu(x), DROPOUT_DENSE, training, [seed, 2 * step + 1])
        logits = tf.layers.dense(x, len(CLASS_NAMES), kernel_initializer=initializer(4), name="output")
    return logits, [conv1, conv2, conv3]


def inference_graph(filters, dense_units):
    """The network as it answers: a graph of its own, without loss or optimizer.

    Returns a namespace: graph; images uint8 [N, 28, 28]; probabilities float32 [N, 10]; feature_maps;
    saver, of the network's weights.
    """
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.uint8, [None, 28, 28], name="images")
        logits, feature_maps = network(images, filters, dense_units)
        return types.SimpleNamespace(graph=graph, images=images, probabilities=tf.nn.softmax(logits),
                                     feature_maps=feature_maps, saver=tf.train.Saver())


def training_graph(recipe, seed, steps_per_epoch, epochs):
    """The network, its loss and one step of stochastic gradient descent.

    Returns a namespace: that of inference_graph, and labels int32 [N], training bool [], loss and
    accuracy float32 [] of the batch, step (running it changes the weights), summary, initialize,
    state_saver (of all that a resumed run needs).
    """
    total = steps_per_epoch * epochs
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(seed)
        images = tf.placeholder(tf.uint8, [None, 28, 28], name="images")
        labels = tf.placeholder(tf.int32, [None], name="labels")
        training = tf.placeholder_with_default(False, [], name="training")
        global_step = tf.train.get_or_create_global_step()
        logits, feature_maps = network(images, recipe["filters"], recipe["dense_units"], training, seed,
                                       tf.cast(global_step, tf.int32))
        weights = tf.global_variables("network")  # before the optimizer adds its own

        loss = tf.losses.softmax_cross_entropy(tf.one_hot(labels, 10), logits, label_smoothing=LABEL_SMOOTHING)
        decay = tf.add_n([tf.nn.l2_loss(weight) for weight in weights if "kernel" in weight.name])
        done = tf.cast(global_step, tf.float32) / total
        learning_rate = PEAK_LEARNING_RATE * tf.minimum(done / WARM_UP, (1 - done) / (1 - WARM_UP))
        optimizer = tf.train.MomentumOptimizer(learning_rate, MOMENTUM, use_nesterov=True)
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):  # batch norm's averages
            step = optimizer.minimize(loss + WEIGHT_DECAY * decay, global_step)

        right = tf.equal(tf.argmax(logits, 1, output_type=tf.int32), labels)
        accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
        tf.summary.scalar("loss", loss)
        tf.summary.scalar("learning_rate", learning_rate)
        return types.SimpleNamespace(
            graph=graph, images=images, labels=labels, training=training, loss=loss, accuracy=accuracy,
            step=step, probabilities=tf.nn.softmax(logits), feature_maps=feature_maps,
            summary=tf.summary.merge_all(), initialize=tf.global_variables_initializer(),
            saver=tf.train.Saver(weights), state_saver=tf.train.Saver(max_to_keep=1, save_relative_paths=True))


# ================================================================================== checkpoints
def weights_prefix(checkpoint_dir):
    """The Saver's prefix: the weights are the two files model.index and model.data-00000-of-00001."""
    return os.path.join(checkpoint_dir, "model")


def restore(session, saver, prefix, remedy):
    """Restores the variables of saver, all or none: what cannot be read ends the program, code 2."""
    try:
        saver.restore(session, prefix)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        fail("the checkpoint %s is missing, damaged or of another network (%s); %s"
             % (prefix, str(error).strip().split("\n")[0][:120], remedy), code=2)


def load_network(checkpoint_dir):
    """The inference graph of the weights in checkpoint_dir, and a session that holds them.

    The widths are read from the checkpoint, so that it fits whatever recipe it was trained with.
    """
    prefix = weights_prefix(checkpoint_dir)
    remedy = "to make a new one: " + TRAIN_COMMAND
    for file in (prefix + ".index", prefix + ".data-00000-of-00001"):
        if not os.path.isfile(file):
            fail("no weights: %s is missing; %s" % (file, remedy), code=2)
    try:
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        filters = [shapes["network/conv%d/kernel" % layer][-1] for layer in (1, 2, 3)]
        model = inference_graph(filters, shapes["network/dense/kernel"][-1])
    except (tf.errors.OpError, ValueError, RuntimeError, KeyError) as error:
        fail("the checkpoint %s is damaged or of another network (%s); %s"
             % (prefix + ".index", str(error).strip().split("\n")[0][:120], remedy), code=2)
    session = tf.Session(graph=model.graph)
    restore(session, model.saver, prefix, remedy)
    return model, session


def write_json(path, content):
    """Writes content all or nothing: under another name first, then renamed."""
    with open(path + ".tmp", "w") as file:
        json.dump(content, file, indent=1, sort_keys=True)
    os.replace(path + ".tmp", path)


def release(session, saver, checkpoint_dir, run):
    """Saves the weights and the run's history. A kill in the middle leaves no mixture that can be
    restored: the old index, which is removed first, is what makes the old weights a checkpoint."""
    prefix = weights_prefix(checkpoint_dir)
    temporary = saver.save(session, prefix + ".tmp", write_meta_graph=False, write_state=False)
    if os.path.exists(prefix + ".index"):
        os.remove(prefix + ".index")
    for suffix in (".data-00000-of-00001", ".index"):
        os.replace(temporary + suffix, prefix + suffix)
    write_json(os.path.join(checkpoint_dir, "training.json"), run)


# ================================================================================== training
def describe(settings):
    """The settings of a run in words."""
    return "recipe %(recipe)s, %(epochs)d epochs, seed %(seed)d, %(pictures)d pictures" % settings


def interrupted_run(state_dir, settings):
    """What --resume goes on with: (the Saver's prefix, history with one record for each epoch in it).

    No run to resume, or one with other settings, ends the program (code 2).
    """
    latest = tf.train.latest_checkpoint(state_dir)
    try:
        with open(os.path.join(state_dir, "run.json")) as file:
            run = json.load(file)
        started_with, history = run["settings"], run["history"][:int(latest.rsplit("-", 1)[1])]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        fail("no interrupted run that could be resumed in %s; start one without --resume" % state_dir, code=2)
    if started_with != settings:
        fail("the interrupted run in %s was started with other settings (%s): give the same ones, or leave "
             "--resume out to start over" % (state_dir, describe(started_with)), code=2)
    return latest, history


def save_state(session, model, state_dir, run):
    """Saves what a resumed run needs. Ordered so that a kill at any moment leaves a state to resume from:
    the history may be one epoch ahead of the Saver, which names its newest complete files last."""
    os.makedirs(state_dir, exist_ok=True)
    write_json(os.path.join(state_dir, "run.json"), run)
    model.state_saver.save(session, os.path.join(state_dir, "epoch"), global_step=len(run["history"]),
                           write_meta_graph=False)


def run_epoch(session, model, shown, batch_size, bar, writer):
    """One pass over shown, (images, labels): mean loss and accuracy. A loss that is not finite ends the program."""
    images, labels = shown
    steps = len(images) // batch_size
    sums = np.zeros(2)
    for step in range(steps):
        batch = slice(step * batch_size, (step + 1) * batch_size)
        feed = {model.images: images[batch], model.labels: labels[batch], model.training: True}
        wanted = [model.loss, model.accuracy, model.step]
        if writer and bar.n % 20 == 0:
            loss, accuracy, _, summary = session.run(wanted + [model.summary], feed)
            writer.add_summary(summary, bar.n)
        else:
            loss, accuracy, _ = session.run(wanted, feed)
        if not np.isfinite(loss):
            fail("the loss is %s in step %d: lower PEAK_LEARNING_RATE; no weights were saved" % (loss, bar.n + 1))
        sums += loss, accuracy
        bar.set_postfix(loss="%.3f" % (sums[0] / (step + 1)), accuracy="%.2f %%" % (100 * sums[1] / (step + 1)),
                        refresh=False)
        bar.update()
    return sums / steps


def train(arguments, training_set, held_out):
    """Trains, prints a line for each epoch, and releases the weights (with --validation only reports).

    training_set, held_out: (images uint8 [N, 28, 28], labels uint8 [N]); held_out is reported after
    each epoch and decides nothing. stdout is the same for the same seed: times are on the bar, on stderr.
    """
    images, labels = training_set
    recipe = RECIPES[arguments.recipe]
    settings = {"recipe": arguments.recipe, "epochs": arguments.epochs, "seed": arguments.seed,
                "pictures": len(images)}
    state_dir = os.path.join(arguments.checkpoint_dir, "state")
    latest, history = interrupted_run(state_dir, settings) if arguments.resume else (None, [])
    run = {"settings": settings, "history": history}
    batch_size = min(BATCH_SIZE, len(images))
    steps = len(images) // batch_size
    model = training_graph(recipe, arguments.seed, steps, arguments.epochs)
    print("Training: " + describe(settings), flush=True)
    writer = tf.summary.FileWriter(arguments.logdir, model.graph) if arguments.logdir else None
    with tf.Session(graph=model.graph) as session:
        if arguments.resume:
            restore(session, model.state_saver, latest, "start over without --resume")
        else:
            session.run(model.initialize)
            if not arguments.validation:
                shutil.rmtree(state_dir, ignore_errors=True)  # two runs must not mix there
        with tqdm(total=steps * arguments.epochs, initial=steps * len(history), unit="step", mininterval=0.5) as bar:
            for shown in prepared_epochs(images, labels, recipe["erase_probability"], arguments.seed,
                                         len(history), arguments.epochs):
                bar.set_description("epoch %d/%d" % (len(history) + 1, arguments.epochs), refresh=False)
                loss, accuracy = run_epoch(session, model, shown, batch_size, bar, writer)
                answers = probabilities(session, model, held_out[0], mirror=False)
                history.append({"loss": float(loss), "accuracy": float(accuracy),
                                "held_out": float(np.mean(answers.argmax(axis=1) == held_out[1]))})
                if not arguments.validation:
                    save_state(session, model, state_dir, run)
                tqdm.write(epoch_line(history, arguments.validation))
                sys.stdout.flush()
                if writer:
                    write_summary(writer, history[-1], bar.n)
        if arguments.validation:
            report(probabilities(session, model, held_out[0]), held_out[1], "validation")
        else:
            release(session, model.saver, arguments.checkpoint_dir, run)
            shutil.rmtree(state_dir)  # nothing is left to resume


def prepared_epochs(images, labels, erase_probability, seed, first, last):
    """Yields epoch_data of the epochs first to last - 1, each prepared while TensorFlow works on the one before."""
    with concurrent.futures.ThreadPoolExecutor(1) as background:
        upcoming = background.submit(epoch_data, images, labels, erase_probability, seed, first)
        for epoch in range(first, last):
            ready = upcoming.result()
            upcoming = background.submit(epoch_data, images, labels, erase_probability, seed, epoch + 1)
            yield ready


def epoch_line(history, validation):
    """The line that is printed after an epoch."""
    return "epoch %2d: loss %.4f, accuracy %.2f %%, %s %.2f %%" % (
        len(history), history[-1]["loss"], 100 * history[-1]["accuracy"],
        "validation" if validation else "test", 100 * history[-1]["held_out"])


def write_summary(writer, record, step):
    """The last epoch's figures for TensorBoard."""
    values = [tf.Summary.Value(tag="epoch/" + name, simple_value=value) for name, value in sorted(record.items())]
    writer.add_summary(tf.Summary(value=values), step)
    writer.flush()


# ================================================================================== evaluation
def probabilities(session, model, images, mirror=True, batch_size=500):
    """images uint8 [N, 28, 28] -> class probabilities float32 [N, 10].

    mirror: the mean over a picture and its mirror image, which are the same garment.
    Raises TypeError for other than uint8: TensorFlow would cut floats of 0 to 1 down to black.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise TypeError("images must be uint8 [N, 28, 28], not %s %s" % (images.dtype, list(images.shape)))
    answers = []
    for start in range(0, len(images), batch_size):
        batch = images[start:start + batch_size]
        views = [batch, batch[:, :, ::-1]] if mirror else [batch]
        answers.append(sum(session.run(model.probabilities, {model.images: view}) for view in views) / len(views))
    return np.concatenate(answers)


def confusion_matrix(predicted, labels):
    """Counts int [10, 10]: row the true class, column the predicted one."""
    counts = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def report(answers, labels, name="test"):
    """Prints the accuracy and a table by class. answers float32 [N, 10], labels uint8 [N]."""
    confusion = confusion_matrix(answers.argmax(axis=1), labels)
    print("\n%-12s %6s %6s %9s %10s  %s" % ("class", "number", "right", "recall", "precision", "most often taken for"))
    for index, class_name in enumerate(CLASS_NAMES):
        right, number, predicted = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
        mistakes = np.where(np.arange(10) == index, 0, confusion[index])
        rival = "%s (%d)" % (CLASS_NAMES[mistakes.argmax()], mistakes.max()) if mistakes.any() else "-"
        print("%-12s %6d %6d %7.1f %% %8.1f %%  %s" % (class_name, number, right, 100 * right / max(number, 1),
                                                       100 * right / max(predicted, 1), rival))
    print("\n%s accuracy: %.2f %% (%d of %d are wrong)" % (name.capitalize(), 100 * np.trace(confusion) / len(labels),
                                                           len(labels) - np.trace(confusion), len(labels)))


def evaluate(arguments, test_set):
    """Restores the weights, prints the test accuracy and the table by class, and draws the pictures."""
    images, labels = test_set
    model, session = load_network(arguments.checkpoint_dir)
    with session:
        answers = probabilities(session, model, images)
        report(answers, labels)
        garment = int(np.flatnonzero(labels == CLASS_NAMES.index("Ankle boot"))[0]) if 9 in labels else 0
        maps = session.run(model.feature_maps, {model.images: images[garment:garment + 1]})

    def picture(name):
        return os.path.join(arguments.image_dir, "ex02_%s.png" % name)

    try:
        with open(os.path.join(arguments.checkpoint_dir, "training.json")) as file:
            draw_training(json.load(file)["history"], picture("training"))
    except (OSError, ValueError, KeyError):
        print("no training.json beside the weights: %s is not drawn" % picture("training"), file=sys.stderr)
    draw_confusion(confusion_matrix(answers.argmax(axis=1), labels), picture("confusion"))
    draw_predictions(images, labels, answers, picture("predictions"))
    draw_feature_maps(images[garment], CLASS_NAMES[labels[garment]], [m[0] for m in maps], picture("feature_maps"))
    print("pictures: %s" % picture("*"), file=sys.stderr)


# ================================================================================== pictures
def draw_training(history, path):
    """Loss and accuracies by epoch. history: the records of train()."""
    epochs = np.arange(1, len(history) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    left.plot(epochs, [record["loss"] for record in history], color="tab:blue",
              marker=".")
    left.set(title="Loss (label-smoothed cross-entropy)", xlabel="epoch")
    right.plot(epochs, [100 * record["accuracy"] for record in history], color="tab:blue", marker=".",
               label="training, augmented pictures and dropout")
    right.plot(epochs, [100 * record["held_out"] for record in history], color="tab:orange",
               marker=".", label="test, one view")
    right.set(title="Accuracy (%)", xlabel="epoch")
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_confusion(confusion, path):
    """The confusion matrix int [10, 10], coloured by the share of each true class."""
    figure, axes = plt.subplots(figsize=(8, 7.2))
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)  # the root makes the rare mistakes visible
    for row, column in np.ndindex(*confusion.shape):
        if confusion[row, column]:
            axes.text(column, row, confusion[row, column], ha="center", va="center", fontsize=9,
                      color="white" if share[row, column] > 0.4 else "black",
                      weight="bold" if row == column else "normal")
    axes.set_xticks(range(10))
    axes.set_xticklabels(CLASS_NAMES, rotation=40, ha="right")
    axes.set_yticks(range(10))
    axes.set_yticklabels(CLASS_NAMES)
    number = confusion.sum()
    axes.set(xlabel="predicted", ylabel="true",
             title="%.2f %% of %d test pictures are right" % (100 * np.trace(confusion) / number, number))
    axes.tick_params(length=0)
    save_figure(figure, path)


def draw_predictions(images, labels, answers, path, columns=10):
    """The first test pictures as they come, then the mistakes made with the most confidence."""
    predicted, confidence = answers.argmax(axis=1), answers.max(axis=1)
    mistakes = np.flatnonzero(predicted != labels)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")][:3 * columns]
    blocks = [("The first test pictures under their predicted names; mistakes are framed in red",
               np.arange(min(5 * columns, len(images)))),
              ("The most confident mistakes" if len(mistakes) else "No mistakes", mistakes)]
    heights = []  # of the grid's rows: a low one for each title, then the pictures
    for _, chosen in blocks:
        heights += [0.22] + [1] * -(-len(chosen) // columns)
    figure = plt.figure(figsize=(1.3 * columns, 1.6 * sum(heights)))
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights, hspace=0.32, wspace=0.15)
    row = 0
    for title, chosen in blocks:
        axes = figure.add_subplot(grid[row, :])
        axes.axis("off")
        axes.text(0, 0.5, title, fontsize=14, weight="bold", transform=axes.transAxes)
        for place, index in enumerate(chosen):
            axes = figure.add_subplot(grid[row + 1 + place // columns, place % columns])
            draw_answer(axes, images[index], labels[index], predicted[index], confidence[index])
        row += 1 + -(-len(chosen) // columns)
    save_figure(figure, path)


def draw_answer(axes, image, label, predicted, confidence):
    """One picture under its predicted name; a mistake is framed in red and has its true name below."""
    right = label == predicted
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set_title("%s %.0f %%" % (CLASS_NAMES[predicted], 100 * confidence), fontsize=7.3, pad=3,
                   color="darkgreen" if right else "crimson", weight="normal" if right else "bold")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("" if right else "true: " + CLASS_NAMES[label], fontsize=8, labelpad=2)
    for spine in axes.spines.values():
        spine.set(color="lightgray" if right else "crimson", linewidth=0.8 if right else 2.5)


def draw_feature_maps(image, name, maps, path, columns=12, rows=2):
    """One garment uint8 [28, 28] and the strongest of its maps, float32 [H, W, F], of each convolution."""
    figure = plt.figure(figsize=(13, 7))
    parts = figure.add_gridspec(1, 2, width_ratios=[1, 5.2], wspace=0.03)
    axes = figure.add_subplot(parts[0])
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set_title(name, weight="bold")
    axes.axis("off")
    layers = parts[1].subgridspec(len(maps), 1, hspace=0.16)
    for layer, (part, values) in enumerate(zip(layers, maps), start=1):
        grid = part.subgridspec(rows, columns, hspace=0.06, wspace=0.06)
        strongest = np.argsort(-values.std(axis=(0, 1)), kind="stable")[:rows * columns]
        for place, channel in enumerate(strongest):
            axes = figure.add_subplot(grid[place // columns, place % columns])
            limit = np.abs(values[:, :, channel]).max()
            axes.imshow(values[:, :, channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.axis("off")
            if not place:
                axes.set_title("convolution %d: the %d strongest of %d maps, %d x %d  (red +, blue -)"
                               % ((layer, len(strongest), values.shape[2]) + values.shape[:2]), loc="left", fontsize=11)
    save_figure(figure, path)


def save_figure(figure, path):
    """Writes figure to path (PNG)."""
    figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


# ================================================================================== main
def main(arguments):
    """Trains (unless --evaluate), then evaluates what is saved and draws. Exit codes: 0; 2 wrong usage or
    no usable checkpoint; 130 Ctrl-C; 1 otherwise."""
    try:
        training_set, test_set = load_data(arguments.data_dir)
        if arguments.validation:
            (images, labels), split = training_set, -VALIDATION_SIZE
            if len(images) <= VALIDATION_SIZE:
                fail("--validation holds out %d pictures, and there are only %d" % (VALIDATION_SIZE, len(images)))
            train(arguments, (images[:split], labels[:split]), (images[split:], labels[split:]))
            return
        os.makedirs(arguments.image_dir, exist_ok=True)  # before minutes of training, not after
        if not arguments.evaluate:
            os.makedirs(arguments.checkpoint_dir, exist_ok=True)
            train(arguments, training_set, test_set)
        evaluate(arguments, test_set)
    except (OSError, tf.errors.OpError) as error:  # a full disk, for instance
        fail("cannot write or read: %s" % str(error).split("\n")[0])
    except KeyboardInterrupt:
        kept = os.path.exists(os.path.join(arguments.checkpoint_dir, "state", "run.json"))
        command = " ".join(["python"] + [shlex.quote(word) for word in sys.argv if word != "--resume"])
        advice = "; the finished epochs are kept, go on with: %s --resume" % command if kept else ""
        fail("stopped" + advice, code=130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, SIGINT_HANDLER)
    main(ARGUMENTS)
