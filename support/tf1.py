"""The one place where TensorFlow is imported: `from support.tf1 import tf`.

`tf` is TensorFlow's version 1 API, of 2.21 as of the genuine 1.15. It is imported when a name of
it is first used, so that a program answers its command line before that takes its seconds.
"""
import contextlib
import ctypes
import functools
import os
import resource
import sys
import tempfile
import threading
import types
import warnings
import zlib

from support.console import MissingPackage, UserError, reason, sudden_interruption
from support.tf1_small import small_tensorflow


class _TensorFlow(types.ModuleType):
    """Stands for the module until, and after, it is imported."""

    def __getattr__(self, name):
        if name.startswith("__"):  # what inspects a module does not import it
            raise AttributeError(name)
        with _one_import:
            small = _import_small() if _start_small else None
            return getattr(small if hasattr(small, name) else _import(), name)


tf = _TensorFlow("tensorflow.compat.v1")
# Bytes, on two cores, for its small part that answers, and for all of it.
SMALL_SPACE, WHOLE_SPACE = 2 * 10 ** 9, 2500 * 10 ** 6
M_ARENA_MAX = -8  # malloc.h's
_one_import = threading.RLock()
_start_small = False


def start_small():
    """Have `tf` be the few parts that a restored graph needs, and the rest once that is asked for."""
    global _start_small
    _start_small = True


def _prepare(space):
    """Make sure that so many bytes may be had, and set what TensorFlow reads from the environment."""
    _check_memory(space)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By itself it uses oneDNN on processors with VNNI only; those with AVX2 are faster by it, too
    # (docs/measurements.md).
    if "avx2" in _processor_flags():
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _check_memory(needed):
    """Refuse a limit on memory under which TensorFlow would abort, or try for ever.

    Raises:
        UserError: `ulimit -v` leaves too little.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < needed:
        raise UserError("TensorFlow needs %.1f GB of address space for an answer and %.1f for all "
                        "else, and 'ulimit -v' allows %.1f."
                        % (SMALL_SPACE / 1e9, WHOLE_SPACE / 1e9, limit / 1e9))
    if limit >= 0:
        # Each thread's own heap reserves address space, enough for TensorFlow to abort later on.
        with contextlib.suppress(AttributeError):  # a C library without glibc's knob
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


@functools.lru_cache(maxsize=None)
def _import_small():
    """Return `small_tensorflow()`, or None where that cannot be had: then all is imported."""
    _prepare(SMALL_SPACE)
    with sudden_interruption(), quiet_stderr():
        try:
            return small_tensorflow()
        except Exception:  # another TensorFlow may be built in any other way
            return None


@functools.lru_cache(maxsize=None)
def _import():
    """Return the module `tensorflow.compat.v1`, in graph mode and without its talk."""
    _prepare(WHOLE_SPACE)
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tf.layers lives in tf-keras today
    os.environ.pop("KERAS_BACKEND", None)  # that is Keras 3's
    warnings.filterwarnings("ignore", category=FutureWarning)  # of 1.15, about NumPy
    warnings.filterwarnings("ignore", message=".*tf.layers")  # that it is old is why we are here
    try:
        with sudden_interruption(), quiet_stderr():
            import tensorflow.compat.v1 as tensorflow
            # The first look for a GPU is the last to talk.
            tensorflow.config.experimental.list_physical_devices("GPU")
    except ModuleNotFoundError as error:
        raise MissingPackage(error)
    except OSError as error:  # no folder for temporary files, or too few files at a time
        raise UserError("TensorFlow cannot be imported: %s." % reason(error)) from error
    tensorflow.logging.set_verbosity(tensorflow.logging.ERROR)
    tensorflow.disable_eager_execution()
    tensorflow.enable_v2_tensorshape()
    tensorflow.enable_resource_variables()  # 1.15 would otherwise read variables without a lock
    return tensorflow


def chrome_trace(step_stats):
    """Return the JSON for chrome://tracing of the step that a `tf.RunMetadata` has traced."""
    from tensorflow.python.client.timeline import Timeline  # nothing public gives it
    return Timeline(step_stats).generate_chrome_trace_format()


def all_reduce(tensor, processes, name):
    """Return the sum of a float32 tensor over the processes of a `tf.train.Server` cluster.

    Args:
        tensor: of the same shape everywhere, on a device of its own process.
        processes: how many there are; each must run this operation.
        name: the operation's, by which the processes know which tensors belong together.
    """
    from tensorflow.python.ops import collective_ops  # 1.15 has nothing public for it
    return collective_ops.all_reduce(tensor, processes, 1, zlib.crc32(name.encode()) >> 1,
                                     "Add", "Id", (0,), "ring")


@contextlib.contextmanager
def quiet_stderr():
    """Keep what C++ writes to stderr (file descriptor 2) from the user, unless the block fails.

    TensorFlow reports on CUDA and CPU features before its log level is set, so only the file
    descriptor itself can hold it back. When the block raises, all that was held back is shown.
    """
    sys.stderr.flush()
    with _scratch_file() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception as error:  # not on Ctrl-C: that is no failure to explain
            if not isinstance(error, ModuleNotFoundError):
                held_back.seek(0)
                os.write(stderr, held_back.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def _scratch_file():
    """A temporary file, or where there is room for none, one that forgets what is written."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b", buffering=0)


def fastest(precision):
    """Return the precision to compute in: "float32" where "bfloat16" would be slower than that."""
    return precision if computes_bfloat16() else "float32"


def computes_bfloat16():
    """Return whether the processor has instructions for bfloat16, and TensorFlow uses them.

    Without them bfloat16 is emulated, slower than float32 is computed. TensorFlow 1.15, which
    uses none, ends at Python 3.7.
    """
    return sys.version_info >= (3, 8) and bool({"avx512_bf16", "amx_bf16"} & _processor_flags())


@functools.lru_cache(maxsize=None)
def _processor_flags():
    """Return what the processor has, in Linux' words; an empty set where nothing tells."""
    try:
        with open("/proc/cpuinfo") as stream:
            return set(stream.read().split())
    except OSError:
        return set()


def kept_in_float32(getter, name, *more, dtype=None, **options):
    """A custom getter: variables are float32, or small steps were lost (arXiv 1710.03740, 3.1)."""
    variable = getter(name, *more, dtype=tf.float32, **options)
    return variable if dtype in (None, tf.float32) else tf.cast(variable, dtype)
