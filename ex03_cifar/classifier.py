"""Views and a checkpoint -> class probabilities: the one definition of an answer."""
import os

import numpy as np

from ex03_cifar.network import architecture, network
from support import checkpoint
from support.console import REPOSITORY, command
from support.tf1 import tf

RELEASE = os.path.join(REPOSITORY, "checkpoints", "cifar10")
IMAGES_A_RUN = 1000  # bounds the memory that a long list of pictures takes
SURE = 0.95  # the probability from which a second look is spared


class Classifier:
    """A released network, ready to answer."""

    def __init__(self, folder=RELEASE):
        """Restore the checkpoint in `folder`.

        Raises:
            checkpoint.CheckpointError: it is missing, damaged or not this network's.
        """
        checkpoint.load(folder, self._restore,
                        maker=command("python -m ex03_cifar.train", folder, RELEASE))

    def _restore(self, prefix):
        shapes = tf.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
        widths, convolutions = architecture(shapes)
        with tf.Graph().as_default() as graph:
            self.images = tf.placeholder(tf.uint8, [None, 32, 32, 3], "images")
            self.logits = network(self.images, widths, convolutions, training=False)
            temperature = temperature_variable()
            self.mean_logits = tf.placeholder(tf.float32, [None, 10], "mean_logits")
            self.answer = tf.nn.softmax(self.mean_logits / temperature)
            self.session = tf.Session(graph=graph)
            tf.train.Saver().restore(self.session, prefix)

    def probabilities(self, views, counts):
        """Return the probabilities float32 [N,10] of N pictures.

        Args:
            views: uint8 [sum of counts,32,32,3], the views of the pictures one after another.
            counts: how many views each picture has.
        """
        return self.average(self.view_logits(views), counts)

    def view_logits(self, views, done=None):
        """Return the logits float32 [V,10] of views uint8 [V,32,32,3]; see `run_in_parts`."""
        return run_in_parts(self.session, self.logits, self.images, views, done)

    def average(self, logits, counts):
        """Return the probabilities float32 [N,10] of N pictures from their views' logits."""
        return self._softmax(mean_by_picture(logits, counts))

    def look(self, pictures):
        """Return the probabilities float32 [N,10] of N pictures, looking again where in doubt.

        The answer is that of `probabilities` for a picture's first views, and where that is less
        than SURE, for its first and further views together.

        Args:
            pictures: a list of `views.Views`.
        """
        counts = np.array([len(views.first) for views in pictures])
        logits = mean_by_picture(
            self.view_logits(np.concatenate([views.first for views in pictures])), counts)
        probabilities = self._softmax(logits)
        doubtful = [place for place, views in enumerate(pictures)
                    if views.further and probabilities[place].max() < SURE]
        if doubtful:
            further = [pictures[place].further() for place in doubtful]
            more = np.array([len(views) for views in further])
            share = (more / (counts[doubtful] + more)).astype(np.float32)[:, None]
            logits = ((1 - share) * logits[doubtful]
                      + share * mean_by_picture(self.view_logits(np.concatenate(further)), more))
            probabilities[doubtful] = self._softmax(logits)
        return probabilities

    def _softmax(self, logits):
        return self.session.run(self.answer, {self.mean_logits: logits})


def temperature_variable():
    """The scalar that the logits are divided by, fitted after training (`fit_temperature`)."""
    return tf.get_variable("temperature", [], initializer=tf.ones_initializer(), trainable=False)


def run_in_parts(session, logits, images, views, done=None):
    """Return `logits` float32 [N,10] for `views` uint8 [N,32,32,3], IMAGES_A_RUN at a time.

    Args:
        done: called with the number of views after each part, for a bar.
    """
    parts = []
    for start in range(0, len(views), IMAGES_A_RUN):
        part = views[start:start + IMAGES_A_RUN]
        parts.append(session.run(logits, {images: part}))
        if done:
            done(len(part))
    return np.concatenate(parts)


def mean_by_picture(logits, counts):
    """Average the logits [sum of counts,10] of each picture's views -> [N,10]."""
    starts = np.cumsum(counts) - counts
    return np.add.reduceat(logits, starts, axis=0) / np.reshape(counts, [-1, 1]).astype(np.float32)
