"""The one place where TensorFlow's public API is imported: `from support.tf1 import tf`.

`tf` is TensorFlow's version 1 API, of 2.21 as of the genuine 1.15. It is imported when one of its
names is first used: that takes seconds, and a program checks its command line before.
"""
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import sys
import threading
import types
import warnings

from support.console import UserError, reason

# Bytes, on two cores, for its small part that predicts, and for all of it.
SMALL_SPACE, WHOLE_SPACE = 2 * 10 ** 9, 2500 * 10 ** 6
M_ARENA_MAX = -8  # malloc.h's
_one_import = threading.RLock()
_start_small = False


class CannotStart(UserError):
    """TensorFlow cannot be imported here, by a `problem` of "memory", "processor" or "system"."""

    def __init__(self, problem, message):
        super(CannotStart, self).__init__(message)
        self.problem = problem


def _attribute(name):
    if name.startswith("__"):  # what inspects a module does not import it
        raise AttributeError(name)
    with _one_import:
        small = _import_small() if _start_small else None
        return getattr(small if hasattr(small, name) else _import(), name)


tf = types.ModuleType("tensorflow.compat.v1")
tf.__getattr__ = _attribute  # as in PEP 562


def start_small():
    """Have `tf` import the few parts that a restored graph needs, the rest once that is used."""
    global _start_small
    _start_small = True


def _prepare(space):
    """Refuse where TensorFlow would be killed, and set the environment variables that it reads.

    Without `space` bytes of address space it would abort, or try for ever.
    """
    features, limit = processor_features(), _memory_limit()
    if features and "avx" not in features:
        raise CannotStart("processor", "TensorFlow needs a processor with AVX instructions, and "
                                       "this one has none.")
    if limit is not None and limit < space:
        raise CannotStart("memory", "TensorFlow needs %.1f GB of address space for a prediction "
                          "and %.1f for all else, and 'ulimit -v' allows %.1f."
                          % (SMALL_SPACE / 1e9, WHOLE_SPACE / 1e9, limit / 1e9))
    if limit is not None:
        # Each thread's own heap reserves address space, enough for TensorFlow to abort later on.
        with contextlib.suppress(AttributeError):  # a C library without glibc's knob
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By itself it uses oneDNN on processors with VNNI only; those with AVX2 are faster by it, too
    # (docs/measurements.md).
    if "avx2" in features:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # XLA would compile the first shape that it meets, and others once they come again: a run that
    # is resumed where images become larger would round otherwise than one that was not.
    os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_enable_lazy_compilation=false")


def _memory_limit():
    """Return how many bytes of address space this process may use, or None without a limit."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows, which has no such limits
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


@functools.lru_cache(maxsize=None)
def _import_small():
    """Return `small_tensorflow()`, or None where that fails: then all of it is imported."""
    _prepare(SMALL_SPACE)
    with quiet_stderr(), contextlib.suppress(Exception):  # another may be built in any other way
        return small_tensorflow()


def small_tensorflow():
    """Return the parts of TensorFlow 2 that a restored graph needs, in a namespace.

    They take a third of the time of `import tensorflow`, and predictions do not differ by a bit. An
    empty module stands for the package meanwhile, so that they can be imported one by one. Where
    this TensorFlow is built otherwise, any exception is raised; it can be imported as ever then.
    """
    name = "tensorflow"
    if name in sys.modules:
        raise ImportError("TensorFlow is imported already")
    os.environ.pop("TF2_BEHAVIOR", None)  # of a TensorFlow that started this process
    stand_in = types.ModuleType(name)
    stand_in.__path__ = importlib.util.find_spec(name).submodule_search_locations
    sys.modules[name] = stand_in
    try:
        session, ops, errors, saver, logging, config = [
            importlib.import_module("tensorflow." + part) for part in (
                "python.client.session", "python.framework.ops", "python.framework.errors_impl",
                "python.training.saver", "python.platform.tf_logging", "core.protobuf.config_pb2")]
        logging.set_verbosity(logging.ERROR)  # in a notebook it would be INFO
        session.Session(graph=ops.Graph()).close()  # the first looks for a GPU, and logs that
        return types.SimpleNamespace(
            Graph=ops.Graph, Session=session.Session, ConfigProto=config.ConfigProto, errors=errors,
            train=types.SimpleNamespace(import_meta_graph=saver.import_meta_graph))
    finally:
        # Whoever imports the package now gets the real one, which takes over the parts.
        del sys.modules[name]


@functools.lru_cache(maxsize=None)
def _import():
    """Return the module `tensorflow.compat.v1`, in graph mode and without its log output."""
    _prepare(WHOLE_SPACE)
    theirs = "tensorflow" in sys.modules  # of a program that uses ours: it keeps its eager mode
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tf.layers lives in tf-keras today
    os.environ.pop("KERAS_BACKEND", None)  # that is Keras 3's
    warnings.filterwarnings("ignore", category=FutureWarning)  # of 1.15, about NumPy
    warnings.filterwarnings("ignore", message=".*tf.layers")  # that it is old is why we are here
    try:
        with quiet_stderr():
            import tensorflow.compat.v1 as tensorflow
            # The first look for a GPU is the last to write to stderr.
            tensorflow.config.experimental.list_physical_devices("GPU")
    except OSError as error:  # no folder for temporary files, or too few files at a time
        raise CannotStart("system", "TensorFlow cannot be imported: %s." % reason(error)) from error
    tensorflow.logging.set_verbosity(tensorflow.logging.ERROR)
    if not theirs:
        tensorflow.disable_eager_execution()
    tensorflow.enable_v2_tensorshape()
    tensorflow.enable_resource_variables()  # 1.15 would otherwise read variables without a lock
    return tensorflow


@contextlib.contextmanager
def quiet_stderr():
    """Keep from the user what C++ writes to file descriptor 2 before any log level is set."""
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


def fastest(precision):
    """Return the precision to compute in: "float32" where "bfloat16" would be slower than that.

    It is not where the processor has instructions for bfloat16 and TensorFlow uses them: through
    oneDNN on x86-64, unless the user holds that to older instructions or turns it off. Elsewhere
    bfloat16 is emulated; so it is in TensorFlow 1.15, which ends at Python 3.7.
    """
    held = (os.environ.get("ONEDNN_MAX_CPU_ISA")
            or os.environ.get("TF_ENABLE_ONEDNN_OPTS") in ("0", "false"))
    able = {"avx512_bf16", "amx_bf16"} & processor_features() and sys.version_info >= (3, 8)
    return precision if able and not held else "float32"


@functools.lru_cache(maxsize=None)
def processor_features():
    """Return the instruction sets that Linux reports of an x86-64 processor, elsewhere none."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as stream:
        lines = [line.split() for line in stream]
        return set().union(*[words[2:] for words in lines if words[:1] == ["flags"]][:1])
    return set()


def kept_in_float32(getter, name, *more, dtype=None, **options):
    """A custom getter: variables are float32, or small steps were lost (arXiv 1710.03740, 3.1)."""
    variable = getter(name, *more, dtype=tf.float32, **options)
    if dtype in (None, tf.float32):
        return variable
    with tf.device(variable.device):  # rounded where it is stored: half the bytes to read
        return tf.cast(variable, dtype)


def all_finite(update, loss, variables):
    """Return a bool tensor: whether the loss and, after the operation `update`, all variables are
    finite. The loss alone does not show it, being that of the variables before the update."""
    with tf.control_dependencies([update]):
        values = [loss] + [variable.read_value() for variable in variables]
        return tf.reduce_all([tf.reduce_all(tf.is_finite(value)) for value in values])
