"""The one place where this package imports TensorFlow: `from ex03_cifar.tf1 import tf`.

The rest of the package is plain TensorFlow 1 and runs the same on TensorFlow 2.21 and on 1.15.
"""
import contextlib
import os
import signal
import sys
import tempfile
import threading
import warnings

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # tf.layers lives in tf-keras today
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


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
        except Exception:  # not on Ctrl-C: that is no failure to explain
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


@contextlib.contextmanager
def _sudden_interruption():
    """Let Ctrl-C end the process at once, without a KeyboardInterrupt.

    Raised amid the import of a library in C, that exception may come out as an ImportError.
    """
    raising = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not raising or threading.current_thread() is not threading.main_thread():
        yield  # somebody has seen to it, or may not
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


with _sudden_interruption(), quiet_stderr():
    import tensorflow.compat.v1 as tf

warnings.filterwarnings("ignore", message="`tf.layers")  # that it is old is why we are here
tf.logging.set_verbosity(tf.logging.ERROR)
tf.disable_eager_execution()
tf.enable_v2_tensorshape()
tf.enable_resource_variables()  # 1.15 would otherwise read its variables without a lock


def start_session(graph):
    """Return a `tf.Session` on `graph` without TensorFlow's report on the devices it looked for."""
    with quiet_stderr():
        return tf.Session(graph=graph)


def computes_bfloat16():
    """Return whether the processor has instructions for bfloat16, and TensorFlow uses them.

    Linux tells which it has. Without them bfloat16 is emulated, slower than float32 is computed.
    """
    try:
        with open("/proc/cpuinfo") as stream:
            flags = stream.read().split()
    except OSError:
        return False
    return tf.version.VERSION >= "2" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
