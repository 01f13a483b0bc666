"""Winograd's convolution: 3x3 kernels with half to a fifth of the multiplications.

A row of outputs is cut into tiles of m. The outputs of a tile depend on m + 2 inputs, which are
seen as the coefficients of a polynomial, as the kernel's three elements are: both are evaluated at
m + 2 points and multiplied there, which takes m + 2 multiplications instead of 3 m, and the outputs
are computed from the products. In two dimensions the same is done for columns and for rows
(Winograd 1980, "Arithmetic Complexity of Computations"; Lavin and Gray 2015, arXiv 1509.09308).

For convolutional networks there is one matrix product, [N,C] by [C,F], for each pair of points and
each tile, and all steps before and after are products with small constant matrices. All is linear,
so TensorFlow derives the gradients, which are matrix products again.

Compared with the direct convolution in float32, the largest error is 4e-6 (m = 4) to 7e-5 (m = 7)
of the largest output.
"""
import numpy as np

from support.tf1 import tf

KERNEL = 3  # pixels, the side of the kernels
# The points for each m; infinity is one more. Opposite numbers from 1/4 to 9/4, for their powers
# are added up and rounding errors grow with them; of a random search those of the smallest error.
POINTS = {2: (0, 1, -1),
          3: (1/2, -1/2, 3/2, -3/2),
          4: (0, 5/8, -5/8, 3/2, -3/2),
          5: (5/16, -5/16, 13/16, -13/16, 29/16, -29/16),
          6: (0, 1/2, -1/2, 15/16, -15/16, 35/16, -35/16),
          7: (1/4, -1/4, 11/16, -11/16, 9/8, -9/8, 9/4, -9/4)}
SIZES = np.array(sorted(POINTS), np.int32)
KERNEL_COST = 40  # tiles whose products take as long as writing and reading the transformed kernel


def convolution(x, kernel):
    """Convolve x [N,H,W,C] with a kernel [3,3,C,F], both float32, padding "SAME" -> [N,H,W,F].

    N, H and W may be unknown when the graph is built.
    """
    channels, filters = int(kernel.shape[2]), int(kernel.shape[3])
    count, height, width = tf.unstack(tf.shape(x)[:3])
    place = fastest(count, height, width)
    rows, columns = Transform(height, place), Transform(width, place)
    pairs = rows.kernel[:, tf.newaxis, :, tf.newaxis] * columns.kernel[:, tf.newaxis]
    pairs = tf.reshape(pairs, [1, rows.points * columns.points, KERNEL ** 2])
    with tf.control_dependencies([x]):  # one layer's at a time: a transformed kernel is large
        kernel = tf.matmul(pairs, tf.reshape(kernel, [1, KERNEL ** 2, channels * filters]))
    kernel = tf.reshape(kernel, [rows.points, 1, columns.points, channels, filters])
    x = tf.reshape(tf.transpose(x, [1, 2, 0, 3]), [1, height, -1])
    x = tf.reshape(tf.matmul(rows.inputs, x), [-1, width, count * channels])
    x = tf.reshape(tf.matmul(columns.inputs, x),
                   [rows.points, rows.tiles, columns.points, columns.tiles * count, channels])
    y = tf.matmul(x, kernel)  # the kernel is the same for all tiles
    y = tf.reshape(y, [rows.points * rows.tiles, -1, count * filters])
    y = tf.reshape(tf.matmul(columns.outputs, y), [1, rows.points * rows.tiles, -1])
    y = tf.reshape(tf.matmul(rows.outputs, y), [height, width, count, filters])
    return tf.transpose(y, [2, 0, 1, 3])


def fastest(count, height, width):
    """Return the place in SIZES of the tiles that take the least time, an int32 scalar tensor.

    For few images the transformed kernel takes more of it than the products, and small tiles have
    a smaller one.
    """
    tiles = count * -(-height // SIZES) * -(-width // SIZES)
    return tf.argmin((SIZES + KERNEL - 1) ** 2 * (tiles + KERNEL_COST), output_type=tf.int32)


class Transform:
    """The constant matrices for one dimension of `side` pixels and a place in SIZES.

    Both are int32 scalar tensors.
    `inputs` [1, points * tiles, side] and `outputs` [1, side, points * tiles] serve all tiles at
    once: padding, the overlap of tiles and what the last one has too much are zeros in them.
    `kernel` is [points, 3].
    """

    def __init__(self, side, place):
        size = tf.gather(SIZES, place)
        self.tiles, self.points = -(-side // size), size + KERNEL - 1
        inputs, self.kernel, outputs = [tf.gather(table, place)[:self.points] for table in TABLES]

        def for_all_tiles(matrix, length, first):
            places = first + tf.range(length)[:, tf.newaxis] + size * tf.range(self.tiles)
            pixels = tf.reshape(tf.one_hot(places, side), [length, -1])  # outside: zeros
            return tf.reshape(tf.matmul(matrix[:, :length], pixels), [1, -1, side])

        self.inputs = for_all_tiles(inputs, self.points, -1)
        self.outputs = tf.transpose(for_all_tiles(outputs, size, 0), [0, 2, 1])


def matrices(size):
    """Return float64 `inputs` [n,n], `kernel` [n,3], `outputs` [n,m] for a tile; n = m + 2.

    outputs^T ((kernel g) * (inputs d)) are the m outputs for inputs d and a kernel g: the transpose
    of Toom and Cook's multiplication of polynomials. Rows of `inputs` are the coefficients of the
    Lagrange polynomials of the points, but for a factor, which is in `kernel`.
    """
    points = np.array(POINTS[size], np.float64)
    others = [np.delete(points, number) for number in range(len(points))]
    inputs = np.zeros([len(points) + 1] * 2)
    for row, roots in zip(inputs, others + [points]):
        row[:len(roots) + 1] = np.poly(roots)[::-1]  # the lowest power first
    kernel, outputs = [np.vstack([np.vander(points, powers, increasing=True),
                                  np.eye(powers)[-1]]) for powers in (KERNEL, size)]
    kernel[:-1] /= [[np.prod(point - rest)] for point, rest in zip(points, others)]
    return inputs, kernel, outputs


# `matrices` of all sizes, each padded with zeros.
TABLES = [np.zeros([len(SIZES), SIZES[-1] + KERNEL - 1, columns], np.float32)
          for columns in (SIZES[-1] + KERNEL - 1, KERNEL, SIZES[-1])]
for number, size in enumerate(SIZES):
    for table, matrix in zip(TABLES, matrices(size)):
        table[number, :matrix.shape[0], :matrix.shape[1]] = matrix
