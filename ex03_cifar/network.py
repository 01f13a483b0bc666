"""The network: images uint8 [N,H,W,3] -> logits float32 [N,10]. The only place that knows it.

It follows the one of Jordan's "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv
2404.00498): a fixed whitening convolution, then three blocks of convolution, max-pooling,
batch normalisation and activation, then one fully connected layer. Importing this file builds
nothing.
"""
import numpy as np

from ex03_cifar import whole_batch
from ex03_cifar.operations import convolution as convolve
from ex03_cifar.operations import silu
from support.tf1 import tf

MEAN = (125.3, 123.0, 113.9)  # of each channel over the training set, in pixel values
DEVIATION = (63.0, 62.1, 66.7)

WHITENING_SIZE = 2  # pixels, the side of the patches that the first convolution decorrelates
LOGIT_SCALE = 1 / 9  # keeps the untrained network's answers mild


def network(images, widths, convolutions, training, first_kernel=None, precision="float32",
            total=None):
    """Build the network in the current graph; call it again to share the same variables.

    Args:
        images: uint8 tensor [N,H,W,3], H and W from 16 up; normalised here and nowhere else.
        widths: the number of filters in each of the blocks, as in `architecture`.
        convolutions: how many convolutions a block has, 2 or 3.
        training: whether batch normalisation uses (and records) the statistics of the batch.
        first_kernel: float32 [2,2,3,24], what the first layer's kernel is initialised with
            (`whitening_kernel`); may be left out where a checkpoint is restored.
        precision: what the blocks compute in, "float32" or "bfloat16"; variables are float32.
        total: where several processes train a share of the batch each, the function that sums a
            tensor over them (`whole_batch.totals`).
    Returns:
        logits float32 [N,10].
    Raises:
        TypeError: the images are not uint8.
    """
    if images.dtype.base_dtype != tf.uint8:
        raise TypeError("the network takes raw uint8 pixels, not %s" % images.dtype.name)
    with tf.variable_scope("network", reuse=tf.AUTO_REUSE):
        x = normalise(images)
        x = whitening(x, training, first_kernel, tf.as_dtype(precision), total)
        for number, filters in enumerate(widths, 1):
            x = block(x, filters, convolutions, training, "block%d" % number, total)
        x = tf.reduce_max(x, axis=[1, 2], name="global_max_pooling")
        return head(tf.cast(x, tf.float32))


def normalise(images):
    """Raw pixels -> float32 of zero mean and unit variance over the training set."""
    return (tf.cast(images, tf.float32) - MEAN) / DEVIATION


def whitening(x, training, kernel, dtype, total=None):
    """2x2 patches -> 24 uncorrelated channels [N,H-1,W-1,24] of `dtype`; the kernel is not trained."""
    initializer = tf.zeros_initializer() if kernel is None else tf.constant_initializer(kernel)
    x = tf.layers.conv2d(x, 2 * 3 * WHITENING_SIZE ** 2, WHITENING_SIZE, use_bias=False,
                         kernel_initializer=initializer, trainable=False, name="whitening")
    x = tf.cast(batch_normalization(x, training, "whitening_norm", total), dtype)
    return silu(x, fused=training)


def block(x, filters, convolutions, training, name, total=None):
    """[N,H,W,C] -> [N,H//2,W//2,filters]; a third convolution ends a residual branch."""
    with tf.variable_scope(name):
        x = convolution(x, filters, "conv1")
        x = tf.layers.max_pooling2d(x, 2, 2, name="pool")
        x = silu(batch_normalization(x, training, "norm1", total), fused=training)
        shortcut = x
        for number in range(2, convolutions + 1):
            x = batch_normalization(convolution(x, filters, "conv%d" % number), training,
                                    "norm%d" % number, total)
            x = silu(x + shortcut if number > 2 else x, fused=training)
        return x


def convolution(x, filters, name):
    """3x3, without a bias; the kernel is float32 and rounded to the type of `x` where it is used."""
    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [3, 3, x.shape[-1], filters],
                                 initializer=partial_identity)
    return convolve(x, tf.cast(kernel, x.dtype), name)


def batch_normalization(x, training, name, total=None):
    """Normalise over the batch and add a trained bias; the scale is left to the next layer."""
    if training and total:
        return whole_batch.normalization(x, total, momentum=0.9, epsilon=1e-5, name=name)
    return tf.layers.batch_normalization(x, scale=False, momentum=0.9, epsilon=1e-5,
                                         training=training, name=name)


def head(features):
    """Features [N,C] -> logits [N,10]."""
    return LOGIT_SCALE * tf.layers.dense(
        features, 10, use_bias=False, name="head",
        kernel_initializer=tf.variance_scaling_initializer(1.0, distribution="uniform"))


def partial_identity(shape, dtype=None, partition_info=None):
    """Initialise a kernel float32 [h,w,C,F]: its first filters hand their input on.

    The rest is random. The signal then reaches the head from the first step on (Jordan 2024, arXiv 2404.00498).
    """
    height, width, channels, filters = [int(size) for size in shape]
    random = tf.variance_scaling_initializer(1 / 3, distribution="uniform")(shape, tf.float32)
    handed_on = min(channels, filters)
    identity = np.zeros((height, width, channels, handed_on))
    identity[height // 2, width // 2, range(handed_on), range(handed_on)] = 1
    return tf.concat([tf.constant(identity, tf.float32), random[..., handed_on:]], axis=-1)


def whitening_kernel(images, epsilon=5e-4):
    """Return the kernel float32 [2,2,3,24] that decorrelates the patches of `images`.

    Its filters are the eigenvectors of the patches' covariance, each divided by the root of its
    eigenvalue, once as they are and once negated so that the activation loses neither sign
    (Page, "How to train your ResNet",
    https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks/).

    Args:
        images: uint8 [N,H,W,3]; a few thousand are enough.
        epsilon: added to the eigenvalues, so that noise is not blown up.
    """
    pixels = (images.astype(np.float32) - MEAN) / DEVIATION
    size, count = WHITENING_SIZE, len(images)
    height, width = pixels.shape[1] - size + 1, pixels.shape[2] - size + 1
    patches = np.stack([pixels[:, row:row + height, column:column + width]
                        for row in range(size) for column in range(size)], axis=3)
    patches = patches.reshape(count * height * width, -1)
    eigenvalues, eigenvectors = np.linalg.eigh(patches.T.dot(patches) / len(patches))
    filters = (eigenvectors / np.sqrt(eigenvalues + epsilon)).reshape(size, size, 3, -1)
    return np.concatenate([filters, -filters], axis=-1).astype(np.float32)


def flops(widths, convolutions, side=32):
    """Return the floating-point operations of the products in one answer, for [side,side,3].

    A multiplication and its addition count as two. What is no matrix product or convolution,
    such as batch normalisation, is about one per cent more and left out.
    """
    with tf.Graph().as_default() as graph:
        network(tf.zeros([1, side, side, 3], tf.uint8), widths, convolutions, training=False)
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "MatMul"):
            kernel, result = operation.inputs[1].shape, operation.outputs[0].shape
            positions = result.num_elements() // int(result[-1])
            total += 2 * positions * kernel.num_elements()
    return total
