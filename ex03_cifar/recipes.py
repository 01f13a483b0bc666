"""The recipes: named blocks of hyper-parameters, chosen on images held out of the training set."""
from ex03_cifar.tf1 import computes_bfloat16

RECIPES = {
    # 94.0 % in the least time.
    "fast": dict(
        widths=[64, 256, 256],      # filters in each block
        convolutions=2,             # convolutions in each block
        epochs=19,
        batch_size=500,
        learning_rate=0.13,         # of Muon, for the kernels: the step relative to their norm
        momentum=0.7,               # of Muon
        bias_learning_rate=0.053,   # of SGD, for batch normalisation's biases, on the batch's sum
        head_learning_rate=0.0012,  # of SGD, for the fully connected layer, on the batch's sum
        sgd_momentum=0.85,
        weight_decay=2e-6,          # an image and step, of what SGD trains
        label_smoothing=0.2,        # Szegedy et al. 2015, arXiv 1512.00567
        shift=2,                    # pixels, the farthest that an image is moved
        parts=[[20, 32, 0.4],       # [a, b, c]: until the share c of the run, squares of a to b
               [28, 28, 0.8]],      # pixels of each image, reduced to a; then whole images
        harder=[0.2, 0.5, 0.1],     # [a, b, c]: after the share a of the epochs, each sees only the
                                    # share b of the images with the highest loss, and c of others
        cutout=6,                   # pixels, the side of the square that is covered; 0 for none
        precision="bfloat16",       # of what the blocks compute in training, or "float32"
        images=50000,               # training images that are used at all, from the first on
        validation=2000,            # of these, drawn at random, are held out
        seed=0,
    ),
}
# The released weights. Width and length are airbench96's, cut to two hours; they are not tuned, and
# the covered square is as large as in its recipe.
RECIPES["best"] = dict(
    RECIPES["fast"],
    widths=[128, 384, 512],
    convolutions=3,
    epochs=33,
    learning_rate=0.1,
    cutout=12,
)


def stages(parts):
    """Yield (side, largest, begin, end) for each of a recipe's `parts`, then for whole images.

    `begin` and `end` are shares of the run.
    """
    begin = 0
    for side, largest, end in parts + [[32, 32, 1]]:
        yield side, largest, begin, end
        begin = end


def epoch_sizes(options):
    """Return how many images each epoch of a recipe sees, a list."""
    count = options["images"] - options["validation"]
    begin, hardest, others = options["harder"]
    whole = max(1, round(begin * options["epochs"]))
    return [count if epoch < whole else int(hardest * count) + int(others * count)
            for epoch in range(options["epochs"])]


def epoch_steps(options):
    """Return how many steps each epoch of a recipe has, a list; a batch is never cut short."""
    return [size // options["batch_size"] for size in epoch_sizes(options)]


def recipe(name):
    """Return the hyper-parameters of a recipe, in float32 where bfloat16 would not be faster."""
    options = dict(RECIPES[name])
    if not computes_bfloat16():
        options["precision"] = "float32"
    return options
