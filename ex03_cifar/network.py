"""The network: images uint8 [N,H,W,3] -> logits float32 [N,10]; its architecture stands here alone.

It follows Jordan's "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498): a fixed
whitening convolution, then three blocks of convolution, max-pooling, batch normalisation and
activation, then one fully connected layer. Importing this file builds nothing.
"""
import numpy as np

from ex03_cifar import operations
from ex03_cifar.operations import silu
from support.tf1 import kept_in_float32, tf

MEAN = (125.3, 123.0, 113.9)  # of each channel over the training set, in pixel values
DEVIATION = (63.0, 62.1, 66.7)

MOMENTUM, EPSILON = 0.9, 1e-5  # of batch normalisation
LOGIT_SCALE = 1 / 9  # keeps the untrained network's predictions close to uniform


def network(images, widths, convolutions, training, first_kernel=None, precision="float32",
            large_batch=False):
    """Build the network in the current graph; call it again to share the same variables.

    Args:
        images: uint8 tensor [N,H,W,3], H and W from 16 up; normalised here and nowhere else.
        widths: the number of filters of each block.
        convolutions: how many convolutions a block has, 2 or 3.
        training: whether batch normalisation uses (and records) the statistics of the batch.
        first_kernel: float32 [2,2,3,24], the initial value of the first layer's kernel
            (`whitening_kernel`); may be left out where a checkpoint is restored.
        precision: what the blocks compute in, "float32" or "bfloat16"; variables are float32.
        large_batch: whether many images at a time are usual; convolutions are chosen for that.
    Returns:
        logits float32 [N,10].
    Raises:
        TypeError: the images are not uint8.
    """
    with tf.variable_scope("network", reuse=tf.AUTO_REUSE, custom_getter=kept_in_float32):
        x = normalise(images)
        x = whitening(x, first_kernel)
        x = tf.cast(batch_normalization(x, training, "whitening_norm"), precision)
        x = silu(x, fused=training)
        for number, filters in enumerate(widths, 1):
            x = block(x, filters, convolutions, training, large_batch, "block%d" % number)
        return head(x)


def normalise(images):
    """Raw pixels -> float32 of zero mean and unit variance over the training set."""
    if images.dtype.base_dtype != tf.uint8:
        raise TypeError("the network takes raw uint8 pixels, not %s" % images.dtype.name)
    return (tf.cast(images, tf.float32) - MEAN) / DEVIATION


def whitening(x, kernel):
    """2x2 patches -> 24 uncorrelated channels [N,H-1,W-1,24]; the kernel is not trained."""
    initializer = tf.zeros_initializer() if kernel is None else tf.constant_initializer(kernel)
    return tf.layers.conv2d(x, 24, 2, use_bias=False, kernel_initializer=initializer,
                            trainable=False, name="whitening")


def block(x, filters, convolutions, training, large_batch, name):
    """[N,H,W,C] -> [N,H//2,W//2,filters]; a third convolution ends a residual branch."""
    with tf.variable_scope(name):
        x = convolution(x, filters, large_batch, "conv1")
        x = tf.layers.max_pooling2d(x, 2, 2, name="pool")
        x = silu(batch_normalization(x, training, "norm1"), fused=training)
        shortcut = x
        for number in range(2, convolutions + 1):
            x = convolution(x, filters, large_batch, "conv%d" % number)
            x = batch_normalization(x, training, "norm%d" % number)
            x = silu(x + shortcut if number > 2 else x, fused=training)
        return x


def convolution(x, filters, large_batch, name):
    """3x3, without a bias; the kernel is rounded to the dtype of `x`."""
    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [3, 3, x.shape[-1], filters], x.dtype,
                                 initializer=partial_identity)
    return operations.convolution(x, tf.convert_to_tensor(kernel), name, large_batch)


def is_kernel(name):
    """Return whether a variable of this name is the kernel of a `convolution`."""
    return "/conv" in name


def batch_normalization(x, training, name):
    """Normalise over the batch and add a trained bias; the scale is left to the next layer."""
    return tf.layers.batch_normalization(x, scale=False, momentum=MOMENTUM, epsilon=EPSILON,
                                         training=training, name=name)


def head(x):
    """Feature maps [N,H,W,C] -> each map's maximum -> logits float32 [N,10]."""
    x = tf.reduce_max(x, axis=[1, 2], name="global_max_pooling")
    return LOGIT_SCALE * tf.layers.dense(
        tf.cast(x, tf.float32), 10, use_bias=False, name="head",
        kernel_initializer=tf.variance_scaling_initializer(1.0, distribution="uniform"))


def partial_identity(shape, dtype=None, partition_info=None):
    """Initialise a kernel float32 [h,w,C,F]: first an identity (Dirac), the other filters random.

    So the signal reaches the head from the first step on (Jordan 2024, arXiv 2404.00498).
    """
    height, width, channels, filters = [int(size) for size in shape]
    random = tf.variance_scaling_initializer(1 / 3, distribution="uniform")(shape, tf.float32)
    identities = min(channels, filters)
    identity = np.zeros((height, width, channels, identities))
    identity[height // 2, width // 2, range(identities), range(identities)] = 1
    return tf.concat([tf.constant(identity, tf.float32), random[..., identities:]], axis=-1)


def whitening_kernel(images, epsilon=5e-4):
    """Return the kernel float32 [2,2,3,24] that decorrelates the patches of `images`.

    Its filters are the eigenvectors of the patches' covariance, each divided by the root of its
    eigenvalue, once as they are and once negated so that the activation loses neither sign
    (Page, "How to train your ResNet",
    https://myrtle.ai/learn/how-to-train-your-resnet-8-bag-of-tricks/).

    Args:
        images: uint8 [N,H,W,3]; a few thousand are enough.
        epsilon: added to the eigenvalues, so that noise is not amplified.
    """
    pixels = (images.astype(np.float32) - MEAN) / DEVIATION
    corners = pixels[:, :-1, :-1], pixels[:, :-1, 1:], pixels[:, 1:, :-1], pixels[:, 1:, 1:]
    patches = np.stack(corners, axis=3).reshape(-1, 12)
    eigenvalues, eigenvectors = np.linalg.eigh(patches.T.dot(patches) / len(patches))
    filters = (eigenvectors / np.sqrt(eigenvalues + epsilon)).reshape(2, 2, 3, 12)
    return np.concatenate([filters, -filters], axis=-1).astype(np.float32)
