"""A batch as shards, one per device: what one device computes, several compute, to rounding."""
from ex03_cifar import network
from support.tf1 import tf


class Shards(tuple):
    """The shards of a batch: tensors [n,...] of one type, each on a device of its own."""

    def apply_layer(self, layer, *arguments, **options):
        """Compute a layer for each shard on its device; batch normalisation for all together."""
        compute = normalised if layer.__name__ == "batch_normalization" else each
        return compute(self, layer, *arguments, **options)

    def __add__(self, other):
        return each(self, tf.add, other)


def sharded_network(devices):
    """Return `network.network` for a batch that is split over `devices`, as tf.device names them.

    All but the layers' computation, variables included, is placed on the current device.
    """
    def compute(images, *arguments, **options):
        ends = [tf.shape(images)[0] * place // len(devices) for place in range(len(devices) + 1)]
        shards = [images[begin:end] for begin, end in zip(ends, ends[1:])]
        logits = network.network(each(shards, tf.identity, devices=devices), *arguments, **options)
        return tf.concat(logits, 0)
    return compute


def each(shards, function, *arguments, devices=None, **options):
    """Return `Shards` of what a function returns for each shard, and that of other `Shards`.

    Args:
        devices: where it is computed; by default where the shard is.
    """
    results = []
    for place, shard in enumerate(shards):
        given = [argument[place] if isinstance(argument, Shards) else argument
                 for argument in arguments]
        with tf.device(devices[place] if devices else shard.device):
            results.append(function(shard, *given, **options))
    return Shards(results)


def normalised(shards, layer, training, name):
    """`network.batch_normalization` over the whole batch (synchronised), for shards [n,H,W,C].

    Its variables have the same names, so that a checkpoint does not depend on the devices.
    """
    if not training:
        return each(shards, layer, training, name)
    channels = [shards[0].shape[-1]]
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        offset = tf.get_variable("beta", channels, initializer=tf.zeros_initializer())
        averages = [tf.get_variable(statistic, channels, initializer=initial, trainable=False)
                    for statistic, initial in (("moving_mean", tf.zeros_initializer()),
                                               ("moving_variance", tf.ones_initializer()))]
    means, variances, counts = zip(*each(shards, moments))
    pixels = tf.add_n(counts)
    mean = tf.add_n([count * part for part, count in zip(means, counts)]) / pixels
    # From the shards' variances, since E[x²] - E[x]² may be below zero in float32 where the mean is
    # large (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance").
    variance = tf.add_n([count * (part + tf.square(centre - mean)) for centre, part, count
                         in zip(means, variances, counts)]) / pixels
    unbiased = variance * pixels / (pixels - 1)  # what tf.layers records, too
    for average, value in zip(averages, (mean, unbiased)):
        update = average.assign_sub((1 - network.MOMENTUM) * (average - value))
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update.op)
    return each(shards, affine, mean, tf.rsqrt(variance + network.EPSILON), offset.read_value())


# TensorFlow's fused kernel normalises in few passes, but has no gradient for mean and variance.

@tf.custom_gradient
def moments(x):
    """Return (mean [C], variance [C], number of pixels) of x [n,H,W,C], float32."""
    pixels = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    ones = tf.ones([x.shape[-1]])
    _, mean, variance = tf.nn.fused_batch_norm(x, ones, ones, epsilon=network.EPSILON)

    def gradient(to_mean, to_variance, _):
        # d mean / dx = 1 / pixels, d variance / dx = 2 (x - mean) / pixels
        return fused_affine(x, mean, 2 * to_variance / pixels, to_mean / pixels)
    # The kernel divides by one pixel less, for an unbiased variance.
    return (mean, variance * (pixels - 1) / pixels, pixels), gradient


@tf.custom_gradient
def affine(x, mean, scale, offset):
    """Return (x - mean) scale + offset of x [n,H,W,C] and [C]."""
    y, inputs = fused_affine(x, mean, scale, offset), [x, scale, offset]

    def gradient(upstream):
        # Scale and offset depend on x themselves, which is not this function's part.
        to_x, to_scale, to_offset = tf.gradients(y, inputs, upstream, stop_gradients=inputs)
        return to_x, -scale * to_offset, to_scale, to_offset
    return y, gradient


def fused_affine(x, mean, scale, offset):
    """Return (x - mean) scale + offset without a gradient for the mean."""
    variance = tf.fill(tf.shape(mean), 1 - network.EPSILON)
    return tf.nn.fused_batch_norm(x, scale, offset, mean, variance, network.EPSILON,
                                  is_training=False)[0]
