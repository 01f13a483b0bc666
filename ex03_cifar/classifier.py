"""Views and a checkpoint -> class probabilities: the one definition of a prediction."""
from collections import defaultdict

import numpy as np

from ex03_cifar import RELEASE, SIDE
from ex03_cifar.network import is_kernel, network
from support import checkpoint
from support.console import command
from support.tf1 import fastest, tf

IMAGES_A_RUN, VIEWS_A_RUN = 200, 32  # of CIFAR-10's size, and of photographs: bounds the memory
LARGE_BATCH = 64  # pictures from which the graph for large batches saves more than it costs
GRAPH, LARGE_BATCH_GRAPH = ".meta", ".large.meta"  # a release's files
TEMPERATURE = "temperature/Read/ReadVariableOp"  # as TensorFlow names a variable's value
MOST_ENERGY = -2.64  # 95 % of 777 photographs that show one of the classes have less
TTA_THRESHOLD = 0.95  # below this probability the further views are averaged, too


class Classifier:
    """A released network in a session, for inference."""

    def __init__(self, folder=RELEASE, exact=False, large_batch=False):
        """Restore the checkpoint in `folder`.

        Args:
            exact: compute in float32 even where bfloat16 is faster, which changes a probability
                by a few thousandths, and without regard to `large_batch`.
            large_batch: whether LARGE_BATCH pictures or more will be predicted: in float32 they
                take half as long then, and a probability changes by a few millionths.
        Raises:
            checkpoint.CheckpointError: it is missing, damaged or not this network's.
        """
        self.precision = "float32" if exact else fastest("bfloat16")
        self._large_batch = large_batch and self.precision == "float32" and not exact
        checkpoint.load(folder, self._restore, expected=(GRAPH, LARGE_BATCH_GRAPH),
                        maker=command("python -m ex03_cifar.train", folder, RELEASE),
                        release=RELEASE)

    def _restore(self, prefix):
        with tf.Graph().as_default() as graph:
            self.saver = tf.train.import_meta_graph(
                prefix + (LARGE_BATCH_GRAPH if self._large_batch else GRAPH))
        try:
            self.images, self.logits, temperature = [
                graph.get_tensor_by_name(name + ":0")
                for name in ("images", self.precision + "_logits", TEMPERATURE)]
        except KeyError as error:
            raise ValueError("its graph is not that of this network: %s" % error)
        config = tf.ConfigProto()
        # For large batches it takes longer than all that it saves.
        config.graph_options.rewrite_options.disable_meta_optimizer = self._large_batch
        self.session = tf.Session(graph=graph, config=config)
        with graph.as_default():  # the caller may be in eager mode
            self.saver.restore(self.session, prefix)
        self.temperature = self.session.run(temperature)

    def predict(self, pictures):
        """Return the probabilities float32 [N,10] of N pictures, a list of their views."""
        return self.probabilities(self.mean_logits(pictures))

    def mean_logits(self, pictures):
        """Return the logits float32 [N,10] that N pictures are predicted by.

        They are the mean over a picture's first views and, while this gives no class TTA_THRESHOLD,
        over its further ones as well (test-time augmentation).

        Args:
            pictures: a list of N lists of views uint8 [A,S,S,3]; see `views.picture_views`.
        """
        sums = np.zeros([len(pictures), 10], np.float32)
        counts = np.zeros([len(pictures), 1], np.float32)
        asked, turn = range(len(pictures)), 0
        while asked:
            alike = defaultdict(list)  # views of one shape are computed together
            for place in asked:
                alike[pictures[place][turn].shape].append(place)
            for places in alike.values():
                views = np.concatenate([pictures[place][turn] for place in places])
                logits = self.view_logits(views).reshape(len(places), -1, 10)
                sums[places] += logits.sum(axis=1)
                counts[places] += logits.shape[1]
            best, turn = self.probabilities(sums / counts).max(axis=1), turn + 1
            asked = [place for place in asked
                     if best[place] < TTA_THRESHOLD and turn < len(pictures[place])]
        return sums / counts

    def probabilities(self, logits):
        """Return the calibrated probabilities float32 [N,10] of mean logits float32 [N,10]."""
        return softmax(logits / self.temperature)

    def view_logits(self, views):
        """Return the logits float32 [V,10] of views uint8 [V,S,S,3]; see `run_in_parts`."""
        return run_in_parts(self.session, self.logits, self.images, views)


def energy(logits):
    """Return the energy float32 [N] of logits float32 [N,10] (Liu et al. 2020, arXiv 2010.03759).

    The higher it is, the less a picture resembles those of the classes.
    """
    most = logits.max(axis=1)
    return -most - np.log(np.exp(logits - most[:, None]).sum(axis=1))


def softmax(logits):
    """Return the probabilities float32 [N,10] of logits float32 [N,10]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def inference_graphs(widths, convolutions):
    """Return the graphs for inference that a release carries, a dict of file ending to bytes.

    "probabilities:0" float32 [N,10] are those of "images:0" uint8 [N,H,W,3], one view each.
    """
    graphs = {}
    for ending, precisions in (GRAPH, ("float32", "bfloat16")), (LARGE_BATCH_GRAPH, ("float32",)):
        with tf.Graph().as_default() as graph, checkpoint.for_inference(is_kernel):
            images = tf.placeholder(tf.uint8, [None, None, None, 3], "images")
            logits = [tf.identity(network(images, widths, convolutions, training=False,
                                          precision=precision,
                                          large_batch=ending == LARGE_BATCH_GRAPH),
                                  precision + "_logits") for precision in precisions]
            tf.nn.softmax(logits[0] / temperature_variable(), name="probabilities")
        graphs[ending] = checkpoint.meta_graph(graph)
    return graphs


def temperature_variable():
    """Return the scalar variable that divides the logits, fitted after training."""
    return tf.get_variable("temperature", [], initializer=tf.ones_initializer(), trainable=False)


def run_in_parts(session, logits, images, views):
    """Return `logits` float32 [V,10] for `views` uint8 [V,S,S,3], a bounded number at a time."""
    count = IMAGES_A_RUN if views.shape[1] <= SIDE else VIEWS_A_RUN
    return np.concatenate([session.run(logits, {images: views[start:start + count]})
                           for start in range(0, len(views), count)])
