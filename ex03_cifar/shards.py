"""A batch as shards, one per device: what one device computes, several compute, to rounding."""
from ex03_cifar import network
from support.tf1 import tf


class Shards(tuple):
    """The shards of a batch, tensors [n,...] of the same type, each on a device of its own."""

    def apply_layer(self, function, *arguments, **options):
        """Compute a layer for each shard on its device; batch normalisation is synchronised."""
        layer = synchronised if function.__name__ == "batch_normalization" else each
        return layer(self, function, *arguments, **options)

    def __add__(self, other):
        return each(self, tf.add, other)


def sharded_network(devices):
    """Return `network.network` for a batch that is split over `devices`, names as of tf.device.

    Everything but the layers' computation, variables included, stays on the current device.
    """
    def compute(images, *arguments, **options):
        count = tf.shape(images)[0]
        ends = [count * place // len(devices) for place in range(len(devices) + 1)]
        shards = [images[begin:end] for begin, end in zip(ends, ends[1:])]
        logits = network.network(each(shards, tf.identity, devices=devices), *arguments, **options)
        return tf.concat(logits, 0)
    return compute


def each(shards, function, *arguments, devices=None, **options):
    """Return `Shards` of what a function makes of each shard, on its device.

    Args:
        devices: where to compute; by default where the shard is.
    """
    results = []
    for place, shard in enumerate(shards):
        given = [argument[place] if isinstance(argument, Shards) else argument
                 for argument in arguments]
        with tf.device(devices[place] if devices else shard.device):
            results.append(function(shard, *given, **options))
    return Shards(results)


def synchronised(shards, function, training, name):
    """Normalise shards [n,H,W,C] over the whole batch; as `network.batch_normalization`.

    Its variables have the same names, so that checkpoints do not depend on the number of devices.
    """
    if not training:
        return each(shards, function, training, name)
    channels = [shards[0].shape[-1]]
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        offset = tf.get_variable("beta", channels, initializer=tf.zeros_initializer())
        averages = [tf.get_variable(statistic, channels, initializer=initial, trainable=False)
                    for statistic, initial in (("moving_mean", tf.zeros_initializer()),
                                               ("moving_variance", tf.ones_initializer()))]
    mean, variance, unbiased = merged([statistics(shard) for shard in shards])
    scale = tf.rsqrt(variance + network.EPSILON)
    for average, value in zip(averages, (mean, unbiased)):
        update = average.assign_sub((1 - network.MOMENTUM) * (average - value))
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update.op)
    return each(shards, normalise, mean, scale, offset.read_value())


def merged(parts):
    """Return (mean, variance, unbiased variance), each [C], of the pixels of all shards.

    By the deviations of the shards' means: E[x²] - E[x]² in float32 may be less than zero where
    the mean is large (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance").

    Args:
        parts: (mean [C], variance [C], number of pixels) of each shard.
    """
    pixels = tf.add_n([count for _, _, count in parts])
    mean = tf.add_n([count * mean for mean, _, count in parts]) / pixels
    variance = tf.add_n([count * (variance + tf.square(part - mean))
                         for part, variance, count in parts]) / pixels
    return mean, variance, variance * pixels / (pixels - 1)


def statistics(x):
    """Return (mean [C], variance [C], number of pixels) of x [n,H,W,C], float32, on its device.

    TensorFlow's fused kernel computes them in two passes, but has no gradient for them.
    """
    channels = int(x.shape[-1])

    @tf.custom_gradient
    def moments(x):
        ones, zeros = tf.ones([channels]), tf.zeros([channels])
        pixels = tf.cast(tf.size(x) // channels, tf.float32)
        _, mean, variance = tf.nn.fused_batch_norm(x, ones, zeros, epsilon=network.EPSILON)

        def gradient(to_mean, to_variance, _):
            # d mean / dx = 1 / pixels, d variance / dx = 2 (x - mean) / pixels
            return affine(x, mean, 2 * to_variance / pixels, to_mean / pixels)
        # The kernel divides by one pixel less, for an unbiased variance.
        return (mean, variance * (pixels - 1) / pixels, pixels), gradient
    with tf.device(x.device):
        return moments(x)


def normalise(x, mean, scale, offset):
    """Return (x - mean) scale + offset for x [n,H,W,C] and [C], by the fused kernel."""
    @tf.custom_gradient
    def normalised(x, mean, scale, offset):
        y = affine(x, mean, scale, offset)

        def gradient(upstream):  # the kernel's own is none for the mean
            inputs = [x, scale, offset]  # scale depends on x, which is not this function's matter
            to_x, to_scale, to_offset = tf.gradients(y, inputs, upstream, stop_gradients=inputs)
            return to_x, -scale * to_offset, to_scale, to_offset
        return y, gradient
    return normalised(x, mean, scale, offset)


def affine(x, mean, scale, offset):
    """Return (x - mean) scale + offset; gradients flow to x, scale and offset only."""
    variance = tf.fill(tf.shape(mean), 1 - network.EPSILON)
    y, _, _ = tf.nn.fused_batch_norm(x, scale, offset, mean, variance, network.EPSILON,
                                     is_training=False)
    return y
