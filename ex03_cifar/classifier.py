"""Views and a checkpoint -> class probabilities: the one definition of a prediction.

A checkpoint has one network or several; each is asked where those before it are in doubt.
"""
import glob
import os

import numpy as np

from ex03_cifar.network import is_kernel, network
from ex03_cifar.views import SIDE
from support import checkpoint
from support.console import REPOSITORY, command
from support.tf1 import fastest, tf

RELEASE = os.path.join(REPOSITORY, "checkpoints", "cifar10")
IMAGES_A_RUN, VIEWS_A_RUN = 200, 32  # of CIFAR-10's size, and of photographs: bounds the memory
LARGE_BATCH = 64  # pictures from which the graph for large batches saves more than its loading takes
GRAPH, LARGE_BATCH_GRAPH = ".meta", ".large.meta"  # a release's files
TENSORS = "images", "mean_logits", "probabilities"  # and the logits in one precision or both
TTA_THRESHOLD = 0.97  # below this probability further views and then further networks are averaged


class Classifier:
    """A released network in a session, for inference."""

    def __init__(self, folder=RELEASE, exact=False, large_batch=False, number=1, verified=None):
        """Restore the checkpoint in `folder`.

        Args:
            exact: compute in float32 even where the processor is faster in bfloat16, which
                changes a probability by a few thousandths, and without regard to `large_batch`.
            large_batch: whether LARGE_BATCH pictures or more will be predicted: in float32 they
                take half as long then, and a probability changes by a few millionths.
            number: which of the checkpoint's networks, counted from 1.
            verified: the prefix of the checkpoint, if another of its networks was restored before.
        Raises:
            checkpoint.CheckpointError: it is missing, damaged or not this network's.
        """
        self._exact, self.precision = exact, "float32" if exact else fastest("bfloat16")
        self._large_batch = large_batch and self.precision == "float32" and not exact
        self._folder, self._number, self._others = folder, number, {}
        checkpoint.load(folder, self._restore, expected=(GRAPH,), verified=verified,
                        maker=command("python -m ex03_cifar.train", folder, RELEASE),
                        release=RELEASE)

    def _restore(self, prefix):
        self._verified = prefix
        self.networks = 1 + len(glob.glob(glob.escape(prefix) + ".*[0-9]" + GRAPH))
        prefix = network_prefix(prefix, self._number)
        if not os.path.exists(prefix + GRAPH):
            raise checkpoint.CheckpointError(
                "the weights in %s were replaced while they were in use: try again."
                % self._folder, self._folder, "unreadable")
        meta = prefix + LARGE_BATCH_GRAPH
        if not (self._large_batch and os.path.exists(meta)):  # older weights have none
            meta = prefix + GRAPH
        with tf.Graph().as_default() as graph:
            saver = tf.train.import_meta_graph(meta)
        try:
            self.images, self.mean_logits, self._probabilities, self.logits = [
                graph.get_tensor_by_name(name + ":0")
                for name in TENSORS + (self.precision + "_logits",)]
        except KeyError as error:
            raise ValueError("its graph is not that of this network: %s" % error)
        config = tf.ConfigProto()
        # For large batches it takes longer than all that it saves.
        config.graph_options.rewrite_options.disable_meta_optimizer = self._large_batch
        self.session, self.saver = tf.Session(graph=graph, config=config), saver
        saver.restore(self.session, prefix)

    def other(self, number):
        """Return the checkpoint's network `number`, from 2 to `networks`, as a `Classifier`.

        It is restored when it is first asked for.
        """
        if number not in self._others:
            self._others[number] = Classifier(self._folder, self._exact, self._large_batch, number,
                                              self._verified)
        return self._others[number]

    def predict(self, pictures):
        """Return the probabilities float32 [N,10] of N pictures, with test-time augmentation (TTA).

        They are those of a picture's first views and, where none of these reaches TTA_THRESHOLD,
        of its first and further views together. As long as it is not reached, the checkpoint's
        other networks are asked in turn, and the mean over those asked counts (Lakshminarayanan et
        al. 2017, arXiv 1612.01474).

        Args:
            pictures: a list of `views.Views`.
        """
        logits, counts = self._mean_logits([views.first for views in pictures])
        probabilities = self._softmax(logits)
        more = [place for place in in_doubt(probabilities) if len(pictures[place].further)]
        if more:
            further, number = self._mean_logits([pictures[place].further for place in more])
            weight = number / (counts[more] + number)
            probabilities[more] = self._softmax((1 - weight) * logits[more] + weight * further)
        for number in range(2, 1 + self.networks):
            doubtful = in_doubt(probabilities)
            if not len(doubtful):
                break
            views = [np.concatenate(pictures[place]) for place in doubtful]
            probabilities[doubtful] += (self.other(number).average_views(views)
                                        - probabilities[doubtful]) / number
        return probabilities

    def average_views(self, views):
        """Return the probabilities float32 [N,10] that this network has of N pictures.

        Args:
            views: a list of uint8 [A,S,S,3], all views of each picture.
        """
        return self._softmax(self._mean_logits(views)[0])

    def view_logits(self, views):
        """Return the logits float32 [V,10] of views uint8 [V,S,S,3]; see `run_in_parts`."""
        return run_in_parts(self.session, self.logits, self.images, views)

    def average(self, logits, counts):
        """Return the probabilities float32 [N,10] of N pictures from their views' logits [V,10]."""
        return self._softmax(mean_by_picture(logits, counts))

    def _mean_logits(self, views):
        """Return (the mean logits float32 [N,10], the number of views float32 [N,1]) of N pictures.

        Args:
            views: a list of uint8 [A,S,S,3]; those of one side S are computed together.
        """
        counts = np.array([len(part) for part in views])
        sides = np.array([part.shape[1] for part in views])
        means = np.empty([len(views), 10], np.float32)
        for side in np.unique(sides):
            places = np.flatnonzero(sides == side)
            logits = self.view_logits(np.concatenate([views[place] for place in places]))
            means[places] = mean_by_picture(logits, counts[places])
        return means, counts[:, None].astype(np.float32)

    def _softmax(self, logits):
        return self.session.run(self._probabilities, {self.mean_logits: logits})


def in_doubt(probabilities):
    """Return which of N pictures need further views or networks: int [M], of float [N,10]."""
    return np.flatnonzero(probabilities.max(axis=1) < TTA_THRESHOLD)


def inference_graphs(widths, convolutions):
    """Return the graphs for inference that a release carries, a dict of file ending to bytes."""
    return {GRAPH: inference_graph(widths, convolutions, large_batch=False),
            LARGE_BATCH_GRAPH: inference_graph(widths, convolutions, large_batch=True)}


def inference_graph(widths, convolutions, large_batch):
    """Return a graph for inference, bytes: what `import_meta_graph` reads.

    "probabilities:0" float32 [N,10] are those of "images:0" uint8 [N,H,W,3], one view each, or of
    the "mean_logits:0" that are fed.
    """
    with tf.Graph().as_default() as graph, checkpoint.for_inference(is_kernel):
        images = tf.placeholder(tf.uint8, [None, None, None, 3], "images")
        logits = [tf.identity(network(images, widths, convolutions, training=False,
                                      precision=precision, large_batch=large_batch),
                              precision + "_logits")
                  for precision in (["float32"] if large_batch else ["float32", "bfloat16"])]
        mean_logits = tf.placeholder_with_default(logits[0], [None, 10], "mean_logits")
        tf.nn.softmax(mean_logits / temperature_variable(), name="probabilities")
    return checkpoint.meta_graph(graph)


def temperature_variable():
    """Return the scalar variable that divides the logits, fitted after training."""
    return tf.get_variable("temperature", [], initializer=tf.ones_initializer(), trainable=False)


def network_prefix(prefix, number):
    """Return the prefix of one of the networks, counted from 1, of the checkpoint with `prefix`."""
    return prefix if number == 1 else "%s.%d" % (prefix, number)


def run_in_parts(session, logits, images, views):
    """Return `logits` float32 [V,10] for `views` uint8 [V,S,S,3], a bounded number at a time."""
    count = IMAGES_A_RUN if views.shape[1] <= SIDE else VIEWS_A_RUN
    return np.concatenate([session.run(logits, {images: views[start:start + count]})
                           for start in range(0, len(views), count)])


def mean_by_picture(logits, counts):
    """Return the means [N,10] of the logits [sum of counts,10] of each picture's views."""
    starts = np.cumsum(counts) - counts
    return np.add.reduceat(logits, starts, axis=0) / np.reshape(counts, [-1, 1]).astype(np.float32)
