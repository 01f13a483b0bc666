"""Summaries for TensorBoard (`tf.summary`). A training does not end where they fail."""
import os
import time

from support.console import UserError, complain, reason
from support.tf1 import tf


def open_summaries(logdir, notes, graph):
    """Return a writer of the events of a run in a folder of its own in `logdir`; None without one.

    `tf.summary.FileWriter` would write the same records in a thread, which prints its errors. The
    folder's name is noted as "log" in the dict of what the run keeps, for when it resumes.
    """
    if logdir is None:
        return None
    name = notes.setdefault("log", "%s-%d" % (time.strftime("%Y%m%d-%H%M%S"), os.getpid()))
    folder = os.path.join(logdir, name)
    try:
        os.makedirs(folder, exist_ok=True)
        writer = tf.io.TFRecordWriter(
            os.path.join(folder, "events.out.tfevents.%.6f" % time.time()))
    except (OSError, tf.errors.OpError) as error:
        raise UserError("--logdir %s cannot be written: %s." % (logdir, reason(error)))
    writer = write(writer, file_version="brain.Event:2")
    return write(writer, graph_def=graph.as_graph_def(add_shapes=True).SerializeToString())


def write_scalars(writer, scalars, step):
    """Write a dict of name to number; return the writer, or None once it cannot write."""
    values = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return write(writer, summary=tf.Summary(value=values), step=step)


def write(writer, **content):
    """Write a `tf.Event`; return the writer, or None, with a sentence, once it cannot write."""
    try:
        if writer is not None:
            writer.write(tf.Event(wall_time=time.time(), **content).SerializeToString())
            writer.flush()
        return writer
    except (OSError, tf.errors.OpError) as error:
        complain("nothing more is written for TensorBoard: %s." % reason(error))
        return None
