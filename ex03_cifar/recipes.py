"""The recipes: named blocks of hyper-parameters, chosen on images held out of the training set.

Each field has its value, its range and the help text of its option. What follows from a recipe in
time, stage by stage and epoch by epoch, is its `Schedule`.
"""
import functools
from collections import namedtuple
from dataclasses import dataclass, replace

import numpy as np

from ex03_cifar import SIDE
from support.arguments import check_settings, setting


# A part of a run, from the fraction `begin` of its steps to `end`: random crops of up to `crop`
# pixels are resized to `side`.
Stage = namedtuple("Stage", "side crop begin end")

# What a recipe makes of its run. All but `stages` count images or steps, not fractions.
# epoch_sizes: how many images each epoch sees
# full_epochs: how many epochs see all images
# random_images: how many images of a later epoch are selected at random
# epoch_ends: the step after the last one of each epoch; a batch is never cut short
# stages: `Stage`s, the last one of whole images
Schedule = namedtuple("Schedule", "epoch_sizes full_epochs random_images epoch_ends stages")


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a training run. A ValueError names the option that is wrong."""

    widths: tuple = setting((64, 256, 256), (1, 4096), "Filters of each block, one number "
                            "per block", nargs="+")
    convolutions: int = setting(2, (2, 3), "Convolutions per block")
    epochs: int = setting(19, (1, 10000), "Passes over the images (see --selection-start)")
    batch_size: int = setting(500, (1, 50000), "Images per step")
    learning_rate: float = setting(0.13, (1e-9, 1e30), "Learning rate of Muon (convolution "
                                   "kernels): the length of a step relative to the kernel's norm")
    momentum: float = setting(0.7, (0, 1), "Momentum of Muon")
    bias_learning_rate: float = setting(0.053, (1e-9, 1e30), "Learning rate of SGD for the biases "
                                        "of batch normalisation, on sums over the batch")
    head_learning_rate: float = setting(0.0012, (1e-9, 1e30), "Learning rate of SGD for the fully "
                                        "connected layer, on sums over the batch")
    sgd_momentum: float = setting(0.85, (0, 1), "Momentum of SGD (Nesterov)")
    weight_decay: float = setting(2e-6, (0, 1), "Weight decay of SGD, per image and step")
    label_smoothing: float = setting(0.2, (0, 0.99), "Label smoothing")  # arXiv 1512.00567
    shift: int = setting(2, (0, SIDE - 1), "Largest random shift, in pixels")
    cutout: int = setting(6, (0, SIDE), "Side of the cutout, in pixels; 0 turns it off")
    scale_jitter_prob: float = setting(0.0, (0, 1), "Probability of scale jitter, per image")
    scale_jitter: tuple = setting((0.6, 1.4), (0.1, 10), "Smallest and largest factor of scale")
    colour_jitter_prob: float = setting(0.0, (0, 1), "Probability of colour jitter, per image")
    colour_jitter: float = setting(0.3, (0, 1), "Largest change of brightness and "
                                   "contrast, half that of saturation")
    hue_jitter_prob: float = setting(0.0, (0, 1), "Probability of hue jitter, per image")
    grey_prob: float = setting(0.0, (0, 1), "Probability of grey or sepia, per image")
    dark_prob: float = setting(0.0, (0, 1), "Probability of darkness with noise, per image")
    tilt_prob: float = setting(0.0, (0, 1), "Probability of a tilt by up to 20 degrees, per image")
    closer_prob: float = setting(0.0, (0, 1), "Probability of a close-up (a part, enlarged), per "
                                 "image")
    ground_prob: float = setting(0.0, (0, 1), "Probability of being small on a ground of one "
                                 "colour or on another image, per image")
    distillation: float = setting(0.7, (0, 1), "Weight of the teachers' probabilities, where there "
                                  "are --teachers, against that of the labels")
    stage_sides: tuple = setting((20, 28), (2, SIDE), "Side of the images in each early stage, in "
                                 "pixels; without a number there is no early stage", nargs="*")
    stage_crops: tuple = setting((32, 28), (2, SIDE), "Side of the largest random crop, which is "
                                 "resized to --stage-sides, one number per stage", nargs="*")
    stage_ends: tuple = setting((0.4, 0.8), (0, 1), "Fraction of the run that is over when the "
                                "stage ends, one number per stage", nargs="*")
    selection_start: float = setting(0.2, (0, 1), "Fraction of the epochs that see all images; the "
                                     "later ones see selected ones only")
    hard_fraction: float = setting(0.5, (0, 1), "Fraction of the images that is selected for the "
                                   "highest loss")
    random_fraction: float = setting(0.1, (0, 1), "Fraction of the images that is selected at "
                                     "random from the others")
    precision: str = setting("bfloat16", ("float32", "bfloat16"), "Precision of the blocks in "
                             "training; the default is float32 where the processor has no "
                             "bfloat16 units")
    images: int = setting(50000, (1, 50000), "Number of training images to use")
    validation: int = setting(2000, (0, 49999), "Number of these to hold out for validation")
    seed: int = setting(0, (0, 2 ** 32 - 1), "Seed of all random numbers")

    def __post_init__(self):
        check_settings(self)
        for option, problem in contradictions(self):
            raise ValueError("--%s: %s" % (option, problem))

    @property
    @functools.lru_cache(maxsize=None)
    def schedule(self):
        """What follows from it in time, as a `Schedule`."""
        count = self.images - self.validation
        full_epochs = min(self.epochs, max(1, round(self.selection_start * self.epochs)))
        random_images = int(self.random_fraction * count)
        selected = int(self.hard_fraction * count) + random_images
        sizes = [count] * full_epochs + [selected] * (self.epochs - full_epochs)
        ends = np.cumsum([size // self.batch_size for size in sizes]).tolist()
        bounds = (0,) + self.stage_ends + (1,)
        stages = map(Stage, self.stage_sides + (SIDE,), self.stage_crops + (SIDE,),
                     bounds, bounds[1:])
        return Schedule(tuple(sizes), full_epochs, random_images, tuple(ends), tuple(stages))


def contradictions(recipe):
    """Yield (option, problem) for values that are in range but do not fit together."""
    stages = len(recipe.stage_sides)
    smallest = min(recipe.stage_sides + (SIDE,))
    if not len(recipe.stage_crops) == len(recipe.stage_ends) == stages:
        yield "stage-sides", "give as many numbers for --stage-crops and for --stage-ends"
    if any(side > crop for side, crop in zip(recipe.stage_sides, recipe.stage_crops)):
        yield "stage-crops", "a crop must not be smaller than the images of its stage"
    if list(recipe.stage_ends) != sorted(recipe.stage_ends):
        yield "stage-ends", "a stage must not end before the one before it"
    if smallest - 1 < 2 ** len(recipe.widths):
        yield "widths", ("%d blocks are too many: each halves the images, whose side is %d pixels "
                         "(see --stage-sides)" % (len(recipe.widths), smallest))
    if recipe.scale_jitter[0] > recipe.scale_jitter[1]:
        yield "scale-jitter", "the smallest factor comes first"
    if recipe.hard_fraction + recipe.random_fraction > 1:
        yield "hard-fraction", "with --random-fraction it selects more than all images"
    if recipe.validation >= recipe.images:
        yield "validation", "that leaves none of %d images (--images) to train on" % recipe.images
    least = min(recipe.schedule.epoch_sizes)
    if least < recipe.batch_size:
        yield "batch-size", ("of %d images (--images) %d are held out (--validation), and an epoch "
                             "sees %d of the rest: that is less than a batch of %d"
                             % (recipe.images, recipe.validation, least, recipe.batch_size))


FAST = Recipe()
# Width and depth are airbench96's; scale and colour jitter make it better on photographs, for which
# a long training has the time (docs/experiments.md).
BEST = replace(FAST, widths=(128, 384, 512), convolutions=3, epochs=75, learning_rate=0.1, cutout=8,
               scale_jitter_prob=0.3, colour_jitter_prob=0.5)
RECIPES = {
    "fast": FAST,  # 94 % in the least time
    "best": BEST,
    # The released weights: a network of `best` (--init) that three of them teach (--teachers), on
    # photographs as people take them.
    "taught": replace(
        BEST, epochs=18, learning_rate=0.02, bias_learning_rate=0.02, head_learning_rate=0.0004,
        cutout=6, colour_jitter_prob=0.3, hue_jitter_prob=0.1, grey_prob=0.15, dark_prob=0.1,
        tilt_prob=0.25, closer_prob=0.2, ground_prob=0.12, stage_sides=(28,), stage_crops=(32,),
        stage_ends=(0.6,), selection_start=1.0),
}
