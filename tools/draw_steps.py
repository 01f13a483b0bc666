#!/usr/bin/env python
"""Explain a convolution: the layers of a network on an X and an O, computed and drawn.

    python tools/draw_steps.py                images/ex01_steps.png; so does ex01_filters.py --steps
"""
import argparse
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support import console  # noqa: E402, after the path
from support.figures import save_png  # noqa: E402
from support.tf1 import tf  # noqa: E402

X = """
    .........
    .#.....#.
    ..#...#..
    ...#.#...
    ....#....
    ...#.#...
    ..#...#..
    .#.....#.
    ........."""
O = """
    .........
    ...###...
    ..#...#..
    .#.....#.
    .#.....#.
    .#.....#.
    ..#...#..
    ...###...
    ........."""
PATTERNS = ["#.. .#. ..#", "#.# .#. #.#", "..# .#. #.."]     # two arms of an X, and its centre


def grid(drawing):
    """Ink (#) is +1 and paper (.) is -1, float32 [rows, columns]."""
    return np.array([[1 if c == "#" else -1 for c in row] for row in drawing.split()], np.float32)


def compute_steps():
    """The three layers of the page on the X and the O.

    Returns:
        float32 arrays, first axis X and O, last axis the three filters: feature maps [2, 7, 7, 3],
        the same after ReLU [2, 7, 7, 3] and after max-pooling [2, 4, 4, 3].
    """
    graph = tf.Graph()
    with graph.as_default():
        images = tf.placeholder(tf.float32, [2, 9, 9, 1], name="images")
        kernel = np.stack([grid(p) for p in PATTERNS], axis=-1)[:, :, np.newaxis, :]
        maps = tf.nn.conv2d(images, tf.constant(kernel), strides=[1, 1, 1, 1], padding="VALID")
        rectified = tf.nn.relu(maps)
        # SAME: seven is odd, so the last window in a row holds what is left of it.
        pooled = tf.nn.max_pool(rectified, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as session:
        letters = np.stack([grid(X), grid(O)])[..., np.newaxis]
        return session.run([maps, rectified, pooled], {images: letters})


def write_steps(folder):
    """Compute the steps and draw them as ex01_steps.png."""
    console.writable_folder(folder)
    from support.filter_drawings import draw_steps
    picture = draw_steps([grid(X), grid(O)], [grid(p) for p in PATTERNS], *compute_steps())
    save_png(picture, os.path.join(folder, "ex01_steps.png"))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", metavar="DIR", default=console.IMAGES)
    write_steps(parser.parse_args(arguments).output_dir)


if __name__ == "__main__":
    console.run(main)
