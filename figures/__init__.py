"""Every picture that the exercises draw: arrays in, a file out; no TensorFlow, no session."""
