"""The recipes: named blocks of hyper-parameters, chosen on images held out of the training set."""

RECIPES = {
    "fast": dict(
        widths=[64, 256, 256],      # filters in each block
        convolutions=2,             # convolutions in each block
        epochs=8,
        batch_size=500,
        learning_rate=0.13,         # of Muon, for the kernels: the step relative to their norm
        momentum=0.7,               # of Muon
        bias_learning_rate=0.053,   # of SGD, for batch normalisation's biases, on the batch's sum
        head_learning_rate=0.0012,  # of SGD, for the fully connected layer, on the batch's sum
        sgd_momentum=0.85,
        weight_decay=2e-6,          # an image and step, of what SGD trains
        label_smoothing=0.2,        # Szegedy et al. 2015, arXiv 1512.00567
        shift=2,                    # pixels, the farthest that an image is moved
        cutout=0,                   # pixels, the side of the square that is covered; 0 for none
        images=50000,               # training images that are used at all, from the first on
        validation=1000,            # the last of these are held out
        seed=0,
    ),
}
