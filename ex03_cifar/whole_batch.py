"""What the graph of one process among several adds up: so N train what one trains, to rounding.

Each process computes on its share of every batch. Sums over all of them are needed of the
gradients, of batch normalisation's statistics and their gradients, and of what a step reports.
Each is a tensor [N] through one all-reduce, and the same bits in every process.
"""
from support.tf1 import all_reduce, tf


def totals(processes):
    """Return the function (tensor [N], name) -> their sum over this many processes."""
    return lambda tensor, name: all_reduce(tensor, processes, name)


def packed(total, tensors, name):
    """Return the sums of several float32 tensors over all processes, through one all-reduce."""
    shapes = [tensor.shape.as_list() for tensor in tensors]
    sizes = [tensor.shape.num_elements() for tensor in tensors]
    whole = total(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0), name)
    return [tf.reshape(part, shape) for part, shape in zip(tf.split(whole, sizes), shapes)]


def normalization(x, total, momentum, epsilon, name):
    """`tf.layers.batch_normalization` without a scale, by the statistics of the whole batch.

    Its variables have the same names, so that checkpoints do not tell who trained.

    Args:
        x: [N,H,W,C], the share of this process.
        total: as `totals` returns it.
    """
    channels = [x.shape[-1]]
    with tf.variable_scope(name) as scope:
        offset = tf.get_variable("beta", channels, initializer=tf.zeros_initializer())
        moving = [tf.get_variable(statistic, channels, initializer=initial, trainable=False)
                  for statistic, initial in (("moving_mean", tf.zeros_initializer()),
                                             ("moving_variance", tf.ones_initializer()))]
    y, mean, variance = normalise(x, offset, total, epsilon, scope.name)
    for average, statistic in zip(moving, (mean, variance)):
        update = average.assign_sub((1 - momentum) * (average - statistic))
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update.op)
    return y


def normalise(x, offset, total, epsilon, name):
    """Return (x normalised over the whole batch plus the offset [C], its mean, variance [C]).

    The variance that is returned is unbiased, as `tf.layers` records it.

    TensorFlow's fused kernels do the work on the share; only sums [C] travel. The gradient is that
    of Ioffe and Szegedy 2015 (arXiv 1502.03167), with the two sums in it over all shares.
    """
    @tf.custom_gradient
    def normalised(x, offset):
        ones, channels = tf.ones_like(offset), int(offset.shape[0])
        pixels = tf.cast(tf.size(x) // channels, tf.float32)
        _, mean, variance = tf.nn.fused_batch_norm(x, ones, offset, epsilon=epsilon)
        variance *= (pixels - 1) / pixels  # it was divided by one less, to be unbiased
        mean, square, pixels = tf.split(
            total(tf.concat([pixels * mean, pixels * (variance + tf.square(mean)), [pixels]], 0),
                  name + "/statistics"), [channels, channels, 1])
        mean = tf.stop_gradient(mean / pixels)
        variance = tf.stop_gradient(square / pixels - tf.square(mean))
        y, _, _ = tf.nn.fused_batch_norm(x, ones, offset, mean, variance, epsilon,
                                         is_training=False)

        def gradient(upstream, *_):
            through, to_scale, to_offset = tf.gradients(y, [x, ones, offset], upstream)
            sums = total(tf.concat([to_scale, to_offset], 0), name + "/gradient")
            # What comes through mean and variance is linear in x: the same kernel once more.
            scale, shift = tf.split(-sums * tf.tile(tf.rsqrt(variance + epsilon), [2]) / pixels, 2)
            around, _, _ = tf.nn.fused_batch_norm(x, scale, shift, mean, variance, epsilon,
                                                  is_training=False)
            return through + around, to_offset

        return (y, mean, variance * pixels / (pixels - 1)), gradient

    return normalised(x, offset)


def report(total, model, part, count, stop):
    """Return the `graph.Model` of a share with what its steps tell about the whole batch.

    Args:
        part: a slice, which of the batch's images are the share.
        count: how many images the batch has.
        stop: scalar float32, more than 0 where this process asks for the end.
    Returns:
        the model, and a scalar float32, more than 0 where any process asks for the end.
    """
    share = tf.cast(part.stop - part.start, tf.float32)
    losses, loss, correct, failed, stop = packed(total, [
        tf.pad(tf.reshape(model.losses, [part.stop - part.start]),
               [[part.start, count - part.stop]]),
        model.loss * share, tf.cast(model.correct, tf.float32),
        1 - tf.cast(model.train, tf.float32), stop], "report")
    return model._replace(train=tf.equal(failed, 0), losses=losses, loss=loss / count,
                          correct=tf.cast(correct, tf.int32)), stop
