"""The command line of training -> a `Recipe` and where the run reads and writes."""
import argparse
import re
import socket

from ex03_cifar import RELEASE, RUN
from ex03_cifar.recipes import RECIPES
from support.arguments import (add_recipe_options, add_training_options, choose_folders,
                               chosen_recipe, whole_number)
from support.console import Parser, reason
from support.tf1 import fastest


def parse(arguments=None):
    """Return (recipe, run) of a command line; `run` is a namespace of all other options.

    Wrong or contradictory options end the program with a sentence and exit code 2.
    """
    options = Parser(
        prog="python -m ex03_cifar.train", usage="%(prog)s [options]",
        description="Train the CIFAR-10 network. The same command resumes an interrupted run.")
    add_training_options(options, RUN, "CIFAR-10")
    add_recipe_options(options, RECIPES, "fast")
    add_cluster_options(options)
    options.set_defaults(precision=fastest("bfloat16"))
    run = options.parse_args(arguments)
    recipe = chosen_recipe(options, run, RECIPES)
    choose_folders(run, RUN, RELEASE, RUN)
    if (run.cluster is None) != (run.task is None):
        options.error("--cluster and --task go together: the first names all machines, the second "
                      "which of them this is, counted from 0")
    if run.cluster and run.processes > 1:
        options.error("--processes starts a cluster of its own: give it, or --cluster")
    if run.cluster and run.task >= len(run.cluster):
        options.error("--task %d: --cluster has the tasks 0 to %d"
                      % (run.task, len(run.cluster) - 1))
    if max(len(run.cluster or ()), run.processes) > recipe.batch_size:
        options.error("--batch-size %d: expected at least one image for each process"
                      % recipe.batch_size)
    run.task = run.task or 0
    return recipe, run


def add_cluster_options(parser):
    several = parser.add_argument_group(
        "several processes", "They train one network together: each computes a shard of every "
        "batch. In a private network only: TensorFlow's server has no authentication, and whoever "
        "reaches its port can run code there.")
    several.add_argument("--cluster", metavar="HOST:PORT,...", type=addresses,
                         help="Addresses of all processes, the same list for each of them; start "
                              "them in any order. Only task 0 needs other options and the data.")
    several.add_argument("--task", metavar="N", type=whole_number(0),
                         help="Place of this process in the list, from 0; task 0 validates, saves "
                              "and resumes.")
    several.add_argument("--processes", metavar="N", type=whole_number(1, 64), default=1,
                         help="Number of processes to start on this machine, instead of --cluster; "
                              "they divide its processors (default: %(default)s).")


def addresses(text):
    """An argparse type: HOST:PORT,HOST:PORT,... -> IPV4:PORT of each, a list of at least two."""
    found = []
    for address in text.split(","):
        host, _, port = address.rpartition(":")
        if not re.match(r"[\w.-]+:[0-9]{1,5}\Z", address) or not 1 <= int(port) <= 65535:
            raise argparse.ArgumentTypeError("expected HOST:PORT,HOST:PORT,..., each HOST a name "
                                             "or an IPv4 address, got %r" % address)
        try:
            found.append("%s:%d" % (socket.gethostbyname(host), int(port)))
        except (OSError, UnicodeError) as error:
            raise argparse.ArgumentTypeError("%r has no IPv4 address: %s" % (host, reason(error)))
    if len(set(found)) < max(2, len(found)):
        raise argparse.ArgumentTypeError("expected two or more different addresses, got %r" % text)
    return found
