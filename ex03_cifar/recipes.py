"""The recipes: named blocks of hyper-parameters, chosen on images held out of the training set."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A part of the run with small images: squares of each image, reduced to one size."""

    side: int       # pixels, what the squares are reduced to
    largest: int    # pixels, the squares are drawn from `side` to this
    until: float    # the share of the run that is over when the stage ends


@dataclass(frozen=True)
class Selection:
    """Which images the later epochs see."""

    after: float    # the share of the epochs that see every image, before
    hardest: float  # the share of the images that is seen for having the highest loss
    others: float   # the share of the images that is drawn from the rest


@dataclass(frozen=True)
class Recipe:
    """The hyper-parameters of a training run."""

    widths: tuple = (64, 256, 256)      # filters in each block
    convolutions: int = 2               # convolutions in each block
    epochs: int = 19
    batch_size: int = 500
    learning_rate: float = 0.13         # of Muon, for the kernels: the step relative to their norm
    momentum: float = 0.7               # of Muon
    bias_learning_rate: float = 0.053   # of SGD, for batch normalisation's biases, on batch sums
    head_learning_rate: float = 0.0012  # of SGD, for the fully connected layer, on batch sums
    sgd_momentum: float = 0.85
    weight_decay: float = 2e-6          # an image and step, of what SGD trains
    label_smoothing: float = 0.2        # Szegedy et al. 2015, arXiv 1512.00567
    shift: int = 2                      # pixels, the farthest that an image is moved
    stages: tuple = (Stage(20, 32, until=0.4), Stage(28, 28, until=0.8))  # then whole images
    selection: Selection = Selection(after=0.2, hardest=0.5, others=0.1)
    cutout: int = 6                     # pixels, the side of the square that is covered, or 0
    rescaled: float = 0.0               # the share of the images shown larger or smaller
    scales: tuple = (0.6, 1.4)          # the smallest and the largest factor of their size
    recoloured: float = 0.0             # the share of the images whose colours are changed
    colour: float = 0.3                 # by how much
    precision: str = "bfloat16"         # of what the blocks compute in training, or "float32"
    images: int = 50000                 # training images that are used at all, from the first on
    validation: int = 2000              # of these, drawn at random, are held out
    seed: int = 0


RECIPES = {
    # 94.0 % in the least time.
    "fast": Recipe(),
    # The released weights. Width and depth are airbench96's; other sizes and colours make it
    # better on photographs, for which a long training has the time (docs/measurements.md).
    "best": Recipe(widths=(128, 384, 512), convolutions=3, epochs=75, learning_rate=0.1, cutout=8,
                   rescaled=0.3, recoloured=0.5),
}


def training_stages(recipe):
    """Yield (stage, the share of the run that is over when it begins), whole images last."""
    begin = 0
    for stage in recipe.stages + (Stage(32, 32, until=1),):
        yield stage, begin
        begin = stage.until


def epoch_sizes(recipe):
    """Return how many images each epoch sees, a list."""
    count = recipe.images - recipe.validation
    selection = recipe.selection
    whole = max(1, round(selection.after * recipe.epochs))
    return [count if epoch < whole
            else int(selection.hardest * count) + int(selection.others * count)
            for epoch in range(recipe.epochs)]


def epoch_steps(recipe):
    """Return how many steps each epoch has, a list; a batch is never cut short."""
    return [size // recipe.batch_size for size in epoch_sizes(recipe)]
