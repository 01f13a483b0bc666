"""The graph of training and validation: network, loss, learning rate, optimizers, savers."""
import contextlib
from collections import namedtuple

from ex03_cifar.classifier import temperature_variable
from ex03_cifar.network import is_kernel, network
from support.tf1 import all_finite, tf

Model = namedtuple("Model", "images labels targets train losses loss correct logits learning_rate "
                            "temperature initialise state_saver released")


@contextlib.contextmanager
def training_session(recipe, steps, first_kernel):
    """Open a session with the graph of `build`; the context gives (session, `Model`)."""
    with tf.Graph().as_default() as graph:
        model = build(recipe, steps, first_kernel)
    with tf.Session(graph=graph) as session:
        yield session, model


def build(recipe, steps, first_kernel, training_network=network):
    """Build the graph of training and validation in the current `tf.Graph`.

    Returns a `Model`. Running its `train` trains on a batch, one step, and returns whether all
    values are still finite; `targets` float32 [N,10] are the probabilities to be learnt, `losses`
    float32 [N] each image's cross-entropy with its label, `loss` the mean that is trained on,
    `correct` how many predictions were right, all before that step.

    Args:
        steps: how many steps the whole run of the recipe has.
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
    decay = tf.train.polynomial_decay(1.0, step, steps, end_learning_rate=0.0)
    targets = tf.placeholder(tf.float32, [None, 10], "targets")
    loss = tf.losses.softmax_cross_entropy(targets, training_logits,
                                           reduction=tf.losses.Reduction.SUM)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=training_logits)
    update = optimise(loss, batch_size, decay, step, recipe)
    correct = tf.equal(tf.argmax(training_logits, 1, output_type=tf.int32), labels)
    return Model(
        images=images, labels=labels, targets=targets, logits=logits, temperature=temperature,
        train=all_finite(update, loss, released), losses=losses,
        loss=loss / tf.cast(batch_size, tf.float32),
        correct=tf.reduce_sum(tf.cast(correct, tf.int32)),
        learning_rate=recipe.learning_rate * decay,
        initialise=tf.global_variables_initializer(),
        state_saver=tf.train.Saver(max_to_keep=None), released=released)


def optimise(loss, batch_size, decay, step, recipe):
    """Return the operation that trains one step: Muon for the kernels, SGD for all the rest.

    The loss is summed over the batch; `decay` multiplies the learning rates; `step` is incremented.
    """
    from support.muon import MuonOptimizer, minimise  # here: it imports TensorFlow
    kernels = [v for v in tf.trainable_variables() if is_kernel(v.name)]
    heads = [v for v in tf.trainable_variables() if "/head/" in v.name]
    biases = [v for v in tf.trainable_variables() if v.name.endswith("beta:0")]
    groups = [(MuonOptimizer(recipe.learning_rate * decay, recipe.momentum, recipe.precision),
               kernels)]
    for variables, rate in ((biases, recipe.bias_learning_rate),
                            (heads, recipe.head_learning_rate)):
        shrink = recipe.weight_decay * tf.cast(batch_size, tf.float32) / rate
        loss += shrink * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])
        groups.append((tf.train.MomentumOptimizer(rate * decay, recipe.sgd_momentum,
                                                  use_nesterov=True), variables))
    return minimise(loss, groups, step)
