"""The graph of training and validation: network, loss, learning rate, optimizers, savers."""
import contextlib
import functools
import itertools
from collections import namedtuple

from ex03_cifar.classifier import release_saver, temperature_variable
from ex03_cifar.network import is_kernel, network
from support.tf1 import all_finite, tf

Model = namedtuple("Model", "images labels train losses loss correct logits learning_rate "
                            "temperature initialise state_saver release_saver")


@contextlib.contextmanager
def training_session(recipe, steps, first_kernel):
    """Open a session with the graph of `build`; the context gives (session, `Model`)."""
    with tf.Graph().as_default() as graph:
        model = build(recipe, steps, first_kernel)
    with tf.Session(graph=graph) as session:
        yield session, model


def build(recipe, steps, first_kernel, training_network=network):
    """Build the graph of training and validation in the current `tf.Graph`.

    Returns a `Model`. Running one of its `train` trains on a batch, one step, and returns whether
    all values are still finite: `train[i]` while the first i parts of the network are frozen, as
    `Recipe.frozen` counts them. `losses` float32 [N] is each image's cross-entropy, `loss` the mean
    that is trained on, `correct` how many predictions were right, all before that step.

    Args:
        recipe: a `recipes.Recipe`.
        steps: how many steps the whole run has.
        first_kernel: float32 [2,2,3,24], as `whitening_kernel` returns it.
        training_network: computes the logits that are trained on, with the arguments of `network`.
    """
    tf.set_random_seed(recipe.seed)
    images = tf.placeholder(tf.uint8, [None, None, None, 3], "images")
    labels = tf.placeholder(tf.int32, [None], "labels")
    batch_size = tf.size(labels)
    shape = recipe.widths, recipe.convolutions
    # Built first: initial values depend on which operations were made before.
    logits = network(images, *shape, training=False, first_kernel=first_kernel,
                     large_batch=True)
    training_logits = training_network(images, *shape, training=True, precision=recipe.precision,
                                       large_batch=True)
    temperature = temperature_variable()
    released = tf.global_variables()  # before the optimizers add theirs

    step = tf.train.get_or_create_global_step()
    loss = tf.losses.softmax_cross_entropy(
        tf.one_hot(labels, 10), training_logits, label_smoothing=recipe.label_smoothing,
        reduction=tf.losses.Reduction.SUM)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=training_logits)
    updates = optimise(loss, batch_size, step, steps, recipe)
    correct = tf.equal(tf.argmax(training_logits, 1, output_type=tf.int32), labels)
    return Model(
        images=images, labels=labels, logits=logits, temperature=temperature,
        train=[all_finite(update, loss, released) for update in updates], losses=losses,
        loss=loss / tf.cast(batch_size, tf.float32),
        correct=tf.reduce_sum(tf.cast(correct, tf.int32)),
        learning_rate=recipe.learning_rate * remaining(step, steps),
        initialise=tf.global_variables_initializer(),
        state_saver=tf.train.Saver(max_to_keep=None),
        release_saver=release_saver(released))


def remaining(step, steps):
    """Return what multiplies a learning rate: scalar float32, from 1 at step 0 to 0 at `steps`."""
    return tf.train.polynomial_decay(1.0, step, steps, end_learning_rate=0.0)


def optimise(loss, batch_size, step, steps, recipe):
    """Return operations that train one step, a list: the i-th leaves out the first i frozen parts.

    Muon trains the kernels, SGD all the rest. A part's learning rates fall to 0 until it is frozen
    (FreezeOut, Brock et al. 2017, arXiv 1706.04983), those of all others until the end.

    Args:
        loss: scalar, summed over the batch.
        batch_size: int scalar tensor.
        step: the global step, incremented.
        steps: how many steps the whole run has.
    """
    from support.muon import MuonOptimizer, minimise  # here: it imports TensorFlow
    kernels = [v for v in tf.trainable_variables() if is_kernel(v)]
    heads = [v for v in tf.trainable_variables() if "/head/" in v.name]
    biases = [v for v in tf.trainable_variables() if v.name.endswith("beta:0")]
    for variables, rate in ((biases, recipe.bias_learning_rate),
                            (heads, recipe.head_learning_rate)):
        shrink = recipe.weight_decay * tf.cast(batch_size, tf.float32) / rate
        loss += shrink * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])
    sgd = functools.partial(tf.train.MomentumOptimizer, momentum=recipe.sgd_momentum,
                            use_nesterov=True)
    parts = ["whitening_norm", *("block%d" % (i + 1) for i in range(len(recipe.widths))), "head"]
    groups = []  # of each part
    for part, end in itertools.zip_longest(parts, recipe.freeze_ends, fillvalue=1):
        decay = remaining(step, end * steps)
        optimizers = [(MuonOptimizer(recipe.learning_rate * decay, recipe.momentum,
                                     recipe.precision), kernels),
                      (sgd(recipe.bias_learning_rate * decay), biases),
                      (sgd(recipe.head_learning_rate * decay), heads)]
        groups.append([(optimizer, [v for v in variables if "/%s/" % part in v.name])
                       for optimizer, variables in optimizers])
    return [minimise(loss, sum(groups[frozen:], []), step)
            for frozen in range(len(recipe.freeze_ends) + 1)]
