"""Exercise 3: a convolutional network for CIFAR-10 in TensorFlow 1 graph mode."""

SHORT_SIDE = 96  # pixels, at least this much of a larger photograph's shorter side is read
