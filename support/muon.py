"""Muon, momentum with orthogonal steps, as a `tf.train.Optimizer`; several optimizers at once."""
import functools

from support.tf1 import tf


class MuonOptimizer(tf.train.Optimizer):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for conv kernels.

    The Nesterov momentum of a kernel [h,w,C,F], seen as a matrix [h*w*C,F], is replaced by the
    nearest (semi-)orthogonal matrix, so that every direction is learnt at the same pace. A batch
    normalisation follows each kernel, so that only its direction counts; its norm is therefore kept
    at sqrt(F), and the learning rate is the length of a step relative to it.
    """

    def __init__(self, learning_rate, momentum, precision="float32", name="Muon"):
        """`precision` is that of the orthogonalisation: "bfloat16" is enough (see the write-up)."""
        super(MuonOptimizer, self).__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._precision = tf.as_dtype(precision)

    def _create_slots(self, var_list):
        for variable in var_list:
            self._zeros_slot(variable, "momentum", self._name)

    def _resource_apply_dense(self, gradient, variable):
        momentum = self.get_slot(variable, "momentum")
        accumulated = momentum.assign(self._momentum * momentum + gradient)
        step = orthogonalise(tf.reshape(gradient + self._momentum * accumulated,
                                        [-1, variable.shape[-1]]), self._precision)
        filters = tf.cast(variable.shape[-1], tf.float32)
        unit = variable * (tf.sqrt(filters) / tf.norm(variable))
        return variable.assign(unit - self._learning_rate * tf.reshape(step, variable.shape)).op


def orthogonalise(matrix, precision="float32", steps=3):
    """Return the float32 matrix [M,F] with all singular values near 1, by Newton-Schulz iterations.

    The quintic 3.4445 x - 4.7750 x^3 + 2.0315 x^5 moves every singular value from (0, 1] close to
    1 within a few steps (the Muon write-up derives it). A step is x <- p(x x^T) x, whose p commutes
    with x x^T: all are taken on that small square matrix, and applied to x at once.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = tf.cast(matrix / (tf.norm(matrix) + 1e-7), precision)
    gram = tf.matmul(x, x, transpose_a=tall, transpose_b=not tall)  # the smaller of the two
    factors = []
    for _ in range(steps):
        factor = 2.0315 * tf.matmul(gram, gram) - 4.7750 * gram
        factor += 3.4445 * tf.eye(int(gram.shape[0]), dtype=x.dtype)
        gram = tf.matmul(tf.matmul(factor, gram), factor)
        factors.append(factor)
    product = functools.reduce(tf.matmul, factors)  # they commute, as polynomials of one matrix
    return tf.cast(tf.matmul(x, product) if tall else tf.matmul(product, x), tf.float32)


def minimise(loss, groups, step):
    """Return the operation that trains one step, as one optimizer's `minimize` does.

    Args:
        loss: scalar, to be minimised.
        groups: [(optimizer, variables)], each group of variables has its own optimizer.
        step: the global step, incremented at the end.
    """
    trained = [variable for _, variables in groups for variable in variables]
    # A gradient is computed on the device of the operation that it belongs to.
    gradients = iter(tf.gradients(loss, trained, colocate_gradients_with_ops=True))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):  # batch norm's
        updates = [optimizer.apply_gradients([(next(gradients), v) for v in variables])
                   for optimizer, variables in groups]
    with tf.control_dependencies(updates):
        return step.assign_add(1).op
