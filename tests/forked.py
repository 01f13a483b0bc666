"""Programs of the package as processes that share one import of TensorFlow.

A fork server that has imported the package starts each in milliseconds instead of seconds, which
is what makes it possible to kill one twenty times or to show it a hundred damaged files.
"""
import importlib
import multiprocessing
import os
import resource

from conftest import hear_interrupts
from support import console

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["ex03_cifar.train", "ex03_cifar.evaluate", "ex03_cifar.optimizer",
                                "matplotlib.backends.backend_agg", "tqdm"])


def start(module, arguments, output, largest_file=None):
    """Start `module.main(arguments)`, both its streams into the file `output`; return the process.

    It is returned once the program itself begins: a signal before that would hit multiprocessing.

    Args:
        largest_file: bytes, more than which no file may grow to, as on a full disk.
    """
    begins = CONTEXT.Event()
    process = CONTEXT.Process(target=_main, args=(module, arguments, output, largest_file, begins))
    process.start()
    begins.wait(60)
    return process


def run(module, arguments, output, timeout=300, **limits):
    """Run `module.main(arguments)` to its end; return its exit code and what it printed."""
    process = start(module, arguments, output, **limits)
    process.join(timeout)
    with open(output) as stream:
        return process.exitcode, stream.read()


def _main(module, arguments, output, largest_file, begins):
    hear_interrupts()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    begins.set()
    console.run(lambda: importlib.import_module(module).main(arguments))
