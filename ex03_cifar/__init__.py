"""Exercise 3: a convolutional network for CIFAR-10 in TensorFlow 1 graph mode."""
