"""The network once for each device, of a shard of the batch: towers that share their variables."""
from ex03_cifar.network import network
from support.tf1 import tf


def towers(devices):
    """Return a function like `network`: a tower on each of `devices`, as `tf.device` names them.

    Each tower normalises by its own shard of the batch; the moving averages are the first one's.
    """
    def compute(images, *arguments, **options):
        ends = [tf.shape(images)[0] * place // len(devices) for place in range(len(devices) + 1)]
        updates, logits = tf.get_collection_ref(tf.GraphKeys.UPDATE_OPS), []
        for device, begin, end in zip(devices, ends, ends[1:]):
            shard = images[begin:end]
            with tf.device(device):
                logits.append(network(shard, *arguments, **options))
            if len(logits) == 1:
                of_first = list(updates)
        updates[:] = of_first
        return tf.concat(logits, 0)
    return compute
