"""The graph of training and validation: network, loss, learning rate, optimizers, savers."""
from collections import namedtuple

from ex03_cifar.classifier import temperature_variable
from ex03_cifar.network import network
from ex03_cifar.optimizer import MuonOptimizer
from ex03_cifar.sampling import sample_variables
from ex03_cifar.tf1 import tf

Model = namedtuple("Model", "images labels indices train loss correct logits samples learning_rate "
                            "temperature step initialise state_saver release_saver")


def build(options, steps, count, first_kernel):
    """Build the graph of training and validation in the current `tf.Graph`.

    Args:
        options: the hyper-parameters, a dict like those in `recipes.RECIPES`.
        steps: how many steps the whole run has.
        count: how many training images there are.
        first_kernel: float32 [2,2,3,24], as `whitening_kernel` returns it.
    """
    tf.set_random_seed(options["seed"])
    images = tf.placeholder(tf.uint8, [None, None, None, 3], "images")
    labels = tf.placeholder(tf.int32, [None], "labels")
    indices = tf.placeholder(tf.int32, [None], "indices")
    shape = options["widths"], options["convolutions"]
    training_logits = network(images, *shape, training=True, first_kernel=first_kernel,
                              precision=tf.as_dtype(options["precision"]))
    logits = network(images, *shape, training=False)
    temperature = temperature_variable()
    released = tf.global_variables()  # before the optimizers add theirs

    step = tf.train.get_or_create_global_step()
    decay = tf.train.polynomial_decay(1.0, step, steps, end_learning_rate=0.0)
    loss = tf.losses.softmax_cross_entropy(
        tf.one_hot(labels, 10), training_logits, label_smoothing=options["label_smoothing"],
        reduction=tf.losses.Reduction.SUM)
    samples = sample_variables(count)
    remember = tf.scatter_update(
        samples.losses, indices, tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=training_logits))
    with tf.control_dependencies([remember]):
        update = optimise(loss, tf.shape(images)[0], decay, step, options)
    correct = tf.equal(tf.argmax(training_logits, 1, output_type=tf.int32), labels)
    return Model(
        images=images, labels=labels, indices=indices, logits=logits, samples=samples,
        temperature=temperature, step=step, train=all_finite(update, loss, released),
        loss=loss / tf.cast(tf.shape(images)[0], tf.float32),
        correct=tf.reduce_sum(tf.cast(correct, tf.int32)),
        learning_rate=options["learning_rate"] * decay,
        initialise=tf.global_variables_initializer(),
        state_saver=tf.train.Saver(max_to_keep=None),
        release_saver=tf.train.Saver(released, max_to_keep=None))


def all_finite(update, loss, variables):
    """Run the operation `update` and return whether the loss and the new values are finite.

    The loss alone would not tell: it is that of the weights before the update.
    """
    with tf.control_dependencies([update]):
        values = [loss] + [variable.read_value() for variable in variables]
        return tf.reduce_all([tf.reduce_all(tf.is_finite(value)) for value in values])


def optimise(loss, batch_size, decay, step, options):
    """Return the operation that trains one step: Muon for the kernels, SGD for all the rest.

    Args:
        loss: scalar, summed over the batch.
        batch_size: int scalar tensor.
        decay: scalar from 1 to 0, multiplies every learning rate.
        step: the global step, counted up.
    """
    kernels = [v for v in tf.trainable_variables() if "/conv" in v.name]
    heads = [v for v in tf.trainable_variables() if "/head/" in v.name]
    biases = [v for v in tf.trainable_variables() if v.name.endswith("beta:0")]
    groups = [(MuonOptimizer(options["learning_rate"] * decay, options["momentum"]), kernels)]
    for variables, rate in ((biases, options["bias_learning_rate"]),
                            (heads, options["head_learning_rate"])):
        shrink = options["weight_decay"] * tf.cast(batch_size, tf.float32) / rate
        loss += shrink * tf.add_n([tf.nn.l2_loss(variable) for variable in variables])
        groups.append((tf.train.MomentumOptimizer(rate * decay, options["sgd_momentum"],
                                                  use_nesterov=True), variables))
    trained = [variable for _, variables in groups for variable in variables]
    gradients = iter(tf.gradients(loss, trained))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        updates = [optimizer.apply_gradients([(next(gradients), v) for v in variables])
                   for optimizer, variables in groups]
    with tf.control_dependencies(updates):
        return step.assign_add(1).op
