"""Put several trained networks into one checkpoint: python -m ex03_cifar.ensemble DIR DIR

Networks that differ by their seed make different mistakes: their mean is right more often than one
of them (Lakshminarayanan et al. 2017, arXiv 1612.01474).
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("tf_keras")

import os

from ex03_cifar.options import RELEASE, RUN
from ex03_cifar.release import put_together
from support import console
from support.arguments import file_path


def main(arguments=None):
    parser = console.Parser(
        prog="python -m ex03_cifar.ensemble",
        description="Put trained networks into one checkpoint. Where one of them is in doubt about "
                    "a picture, ./predict and the evaluation ask the next and take the mean.")
    parser.add_argument("folders", metavar="DIR", nargs="+", type=file_path,
                        help="A folder of weights: two or more, trained with different --seed.")
    parser.add_argument("--checkpoint-dir", metavar="DIR", type=file_path, default=RUN,
                        help="Folder to write to (default: %s)."
                             % os.path.relpath(RUN, console.REPOSITORY))
    given = parser.parse_intermixed_args(arguments)
    if len(given.folders) < 2:
        parser.error("one network is not an ensemble: give the folders of two or more")
    count = put_together(given.folders, given.checkpoint_dir)
    console.say("Saved %d networks in %s.\nTo try them: %s" % (
        count, given.checkpoint_dir,
        console.command("./predict", given.checkpoint_dir, RELEASE) + " images/avion.jpg"))


if __name__ == "__main__":
    console.run(main)
