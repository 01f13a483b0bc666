"""Faster forms of operations of TensorFlow, the same to rounding."""
from ex03_cifar import winograd
from support.tf1 import tf

# Channels; with fewer, TensorFlow's own is as fast or faster (docs/experiments.md).
WINOGRAD_FROM = 64  # float32
PRODUCTS_FROM = 256  # bfloat16
SIDE_BY_SIDE_FROM = 384 * 384  # bfloat16: channels * filters


def convolution(x, kernel, name, large_batch):
    """Convolve x [N,H,W,C] with a kernel [3,3,C,F] of the same dtype, padding "SAME" -> [N,H,W,F].

    In a `large_batch` it pays to transform the kernel or the images before.
    """
    def convolve(x, kernel):
        return tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME", name=name)

    channels = int(x.shape[-1])
    if x.dtype == tf.float32 and large_batch and channels >= WINOGRAD_FROM:
        with tf.name_scope(name):
            return winograd.convolution(x, kernel)
    if x.dtype == tf.float32 or channels < PRODUCTS_FROM:
        return convolve(x, kernel)

    @tf.custom_gradient
    def with_gradient(x, kernel):
        if large_batch and channels * int(kernel.shape[-1]) >= SIDE_BY_SIDE_FROM:
            y = images_of_row(convolve(one_row(x), kernel), tf.shape(x))
        else:
            y = convolve(x, kernel)

        def gradient(dy):
            return tf.gradients(y, x, dy)[0], tf.cast(kernel_gradient(x, dy), kernel.dtype)
        return y, gradient
    return with_gradient(x, kernel)


def one_row(images):
    """Lay images [N,H,W,C] side by side: one image [1,H,N*(W+1),C], a column of zeros between.

    For a convolution with padding "SAME" the zeros are each image's padding. oneDNN's bfloat16
    reads the whole kernel again for each small image, and one that is larger than the processor's
    cache comes from memory: on 3x3 pixels with 512 channels this row is convolved three times as
    fast (docs/experiments.md).
    """
    count, height, width = tf.unstack(tf.shape(images)[:3])
    length = (width + 1) * int(images.shape[-1])
    apart = tf.pad(images, [[0, 0], [0, 0], [0, 1], [0, 0]])
    row = tf.transpose(tf.reshape(apart, [count, height, length]), [1, 0, 2])
    return tf.reshape(row, [1, height, count * (width + 1), images.shape[-1]])


def images_of_row(row, shape):
    """Cut a row [1,H,N*(W+1),F] apart again: images [N,H,W,F]; `shape` begins with N, H and W."""
    count, height, width = tf.unstack(shape[:3])
    filters = int(row.shape[-1])
    apart = tf.transpose(tf.reshape(row, [height, count, (width + 1) * filters]), [1, 0, 2])
    return tf.reshape(apart[:, :, :width * filters], [count, height, width, filters])


def kernel_gradient(x, dy):
    """Return the gradient float32 [3,3,C,F] of a convolution's kernel as nine matrix products.

    Each element of the kernel multiplies a shifted image. With many channels and few pixels,
    oneDNN's bfloat16 takes two to four times as long for the same sums. The input is x [N,H,W,C],
    the gradient of the output dy [N,H,W,F].
    """
    channels, filters = int(x.shape[-1]), int(dy.shape[-1])
    height, width = tf.shape(x)[1], tf.shape(x)[2]
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    parts = 2 - tf.shape(x)[0] % 2  # of the batch, one for each core
    upstream = tf.reshape(dy, [parts, -1, filters])
    products = []
    for row in range(3):
        for column in range(3):
            shifted = padded[:, row:row + height, column:column + width]
            product = tf.matmul(tf.reshape(shifted, [parts, -1, channels]), upstream,
                                transpose_a=True)
            products.append(tf.reduce_sum(tf.cast(product, tf.float32), axis=0))
    return tf.reshape(tf.stack(products), [3, 3, channels, filters])


def silu(x, fused):
    """Return SiLU, x * sigmoid(x) (Elfwing et al. 2017, arXiv 1702.03118), computed in float32.

    If `fused`, XLA compiles each direction into one loop in bfloat16; TensorFlow has an operation,
    and a pass over memory, for each sign in the formula. Compiling takes time: worth it in training
    only. In float32 it would gain 1 to 2 % and cost the bits of a run that is resumed: a new shape
    is not compiled at once, and rounded in another way until it is.
    """
    if x.dtype != tf.bfloat16 or not fused:
        return tf.nn.swish(x)

    @tf.custom_gradient
    def with_gradient(x):
        def gradient(dy):
            with tf.xla.experimental.jit_scope():
                wide = tf.cast(x, tf.float32)
                sigmoid = 0.5 + 0.5 * tf.tanh(0.5 * wide)
                slope = sigmoid * (1 + wide * (1 - sigmoid))
                return tf.cast(tf.cast(dy, tf.float32) * slope, x.dtype)
        with tf.xla.experimental.jit_scope():
            wide = tf.cast(x, tf.float32)
            half = 0.5 * wide
            return tf.cast(half + half * tf.tanh(half), x.dtype), gradient
    return with_gradient(x)
