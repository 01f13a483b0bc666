"""Exercise 3: a convolutional network for CIFAR-10 in TensorFlow 1 graph mode."""
from support.arguments import checkpoint_folders

RELEASE, RUN = checkpoint_folders("cifar10")
SIDE = 32        # pixels, of CIFAR-10's images
SHORT_SIDE = 96  # pixels, at least this much of a larger photograph's shorter side is read
