"""The one place where TensorFlow's public API is imported: `from support.tf1 import tf`.

`tf` is TensorFlow's version 1 API, of 2.21 as of the genuine 1.15. It is imported when one of its
names is first used: that takes seconds, and a program checks its command line before.
"""
import contextlib
import ctypes
import functools
import importlib
import os
import sys
import tempfile
import threading
import types
import warnings

from support.console import UserError, reason
from support.tf1_small import small_tensorflow

# Bytes, on two cores, for its small part that predicts, and for all of it.
SMALL_SPACE, WHOLE_SPACE = 2 * 10 ** 9, 2500 * 10 ** 6
M_ARENA_MAX = -8  # malloc.h's
LAZY_COMPILATION = "--tf_xla_enable_lazy_compilation"
_one_import = threading.RLock()
_start_small = False


class CannotStart(UserError):
    """TensorFlow cannot be imported here.

    `problem` is one of "memory", "processor" and "system", for callers that word it in another
    language.
    """

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

    Args:
        space: bytes of address space that it needs.
    Raises:
        CannotStart: the processor or `ulimit -v` has too little.
    """
    features = processor_features()
    if features and "avx" not in features:
        raise CannotStart("processor", "TensorFlow needs a processor with AVX instructions, and "
                                       "this one has none.")
    _check_memory(space)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # By itself it uses oneDNN on processors with VNNI only; those with AVX2 are faster by it, too
    # (docs/measurements.md).
    if "avx2" in features:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # XLA would compile the first shape that it meets, and others once they come again: a run that
    # is resumed where images become larger would round otherwise than one that was not.
    flags = os.environ.get("TF_XLA_FLAGS", "").strip()
    if flags[:1] in ("", "-") and LAZY_COMPILATION not in flags:  # else it is the user's own choice
        os.environ["TF_XLA_FLAGS"] = "%s=false %s" % (LAZY_COMPILATION, flags)


def _check_memory(needed):
    """Refuse a limit on memory under which TensorFlow would abort, or try for ever."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows, which has no such limits
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if 0 <= limit < needed:
        raise CannotStart("memory", "TensorFlow needs %.1f GB of address space for a prediction "
                          "and %.1f for all else, and 'ulimit -v' allows %.1f."
                          % (SMALL_SPACE / 1e9, WHOLE_SPACE / 1e9, limit / 1e9))
    if limit >= 0:
        # Each thread's own heap reserves address space, enough for TensorFlow to abort later on.
        with contextlib.suppress(AttributeError):  # a C library without glibc's knob
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


@functools.lru_cache(maxsize=None)
def _import_small():
    """Return `small_tensorflow()`, or None where that fails: then all of it is imported."""
    _prepare(SMALL_SPACE)
    with quiet_stderr():
        try:
            return small_tensorflow()
        except Exception:  # another TensorFlow may be built in any other way
            return None


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
    """Keep what C++ writes to stderr (file descriptor 2) from the user, unless the block fails.

    TensorFlow reports on CUDA and CPU features before its log level is set, so only the file
    descriptor itself can hold it back. When the block raises, all that was held back is printed.
    """
    sys.stderr.flush()
    with _scratch_file() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception as error:  # not on Ctrl-C: that is not a failure to explain
            if not isinstance(error, ModuleNotFoundError):
                held_back.seek(0)
                os.write(stderr, held_back.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def _scratch_file():
    """Return a temporary file or, without room for one, a file that forgets what is written."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b", buffering=0)


# Values of $ONEDNN_MAX_CPU_ISA, the most that oneDNN may use of a processor.
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE",
                    "AVX512_CORE_VNNI")


def fastest(precision):
    """Return the precision to compute in: "float32" where "bfloat16" would be slower than that."""
    return precision if computes_bfloat16() else "float32"


def computes_bfloat16():
    """Return whether the processor has instructions for bfloat16, and TensorFlow uses them.

    It does through oneDNN on x86-64, unless the user keeps it from those instructions. Elsewhere
    bfloat16 is emulated, slower than float32; so it is in TensorFlow 1.15, which ends at Python 3.7.
    """
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in WITHOUT_BFLOAT16
    return onednn and allowed and sys.version_info >= (3, 8) and bool(
        {"avx512_bf16", "amx_bf16"} & processor_features())


@functools.lru_cache(maxsize=None)
def processor_features():
    """Return the instruction sets of an x86-64 processor in Linux' words, a set.

    It is empty on ARM and on systems without /proc: there TensorFlow chooses what it uses, and
    precision is float32.
    """
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
