"""Summaries for TensorBoard (`tf.summary`). A training does not end where they fail."""
import threading

from support.console import UserError, complain, reason
from support.tf1 import tf


def open_summaries(logdir, graph):
    """Return a `tf.summary.FileWriter` in `logdir`, or None without one.

    Raises:
        UserError: the folder cannot be written.
    """
    if logdir is None:
        return None
    # Its thread prints errors that `write_scalars` reports as well.
    tf.logging.set_verbosity(tf.logging.FATAL)
    others = getattr(threading, "excepthook", None)  # Python 3.8
    threading.excepthook = lambda raised: (
        None if raised.thread.name.startswith("EventLogger") else others(raised))
    try:
        return tf.summary.FileWriter(logdir, graph)
    except (OSError, tf.errors.OpError) as error:
        raise UserError("--logdir %s cannot be written: %s." % (logdir, reason(error)))


def write_scalars(writer, scalars, step):
    """Write a dict of name to number; return the writer, or None once it cannot write."""
    if writer is None:
        return None
    values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    try:
        writer.add_summary(tf.Summary(value=values), step)
        writer.flush()
        return writer
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        complain("nothing more is written for TensorBoard: %s." % reason(error))
        return None
