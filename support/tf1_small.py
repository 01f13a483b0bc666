"""The smallest part of TensorFlow 2 that a restored graph needs, for a program that must be quick.

`import tensorflow` runs the package's `__init__`, which imports all of it, and takes three times
as long as what a `tf.Session` and `tf.train.import_meta_graph` need. Here an empty module stands
for the package, so that its parts can be imported one by one. They are the same parts, and run
the same operations: predictions do not differ by a bit.
"""
import importlib
import importlib.util
import os
import sys
import types


def small_tensorflow():
    """Return a namespace with `Graph`, `Session`, `ConfigProto`, `errors` and `train.import_meta_graph`.

    Raises:
        Exception: of any kind, where this TensorFlow is built otherwise. `import tensorflow`
            works as ever afterwards.
    """
    name = "tensorflow"
    if name in sys.modules:
        raise ImportError("TensorFlow is imported already")
    os.environ.pop("TF2_BEHAVIOR", None)  # of a TensorFlow that started this process
    package = importlib.util.find_spec(name)
    stand_in = types.ModuleType(name)
    stand_in.__path__ = list(package.submodule_search_locations)
    sys.modules[name] = stand_in
    try:
        parts = [importlib.import_module("tensorflow.python." + part) for part in (
            "client.session", "framework.ops", "framework.errors_impl", "training.saver",
            "platform.tf_logging")]
        session, ops, errors, saver, logging = parts
        config = importlib.import_module("tensorflow.core.protobuf.config_pb2")
        logging.set_verbosity(logging.ERROR)  # in a notebook it would be INFO
        session.Session(graph=ops.Graph()).close()  # the first looks for a GPU, and logs that
        return types.SimpleNamespace(
            Graph=ops.Graph, Session=session.Session, ConfigProto=config.ConfigProto, errors=errors,
            train=types.SimpleNamespace(import_meta_graph=saver.import_meta_graph))
    finally:
        # Whoever imports the package now gets the real one, which takes over the parts.
        del sys.modules[name]
