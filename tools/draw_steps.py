#!/usr/bin/env python
"""Explain a convolutional network that tells an X from an O: every number computed, then drawn.

    python tools/draw_steps.py      images/ex01_steps.png, ex01_decision.png and ex01_sliding.gif

`python ex01_filters.py --steps` does the same. The filters are given; the weights of the fully
connected layer are computed from the X and the O alone.
"""
import argparse
import os
import sys

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support import console  # noqa: E402, after the path
from figures.common import save_png  # noqa: E402
from support.tf1 import tf  # noqa: E402

# Six pictures side by side. The weights are computed from the first two.
LETTERS = """
    .........   .........   .........   .........   .........   .........
    .#.....#.   ...###...   ..#.....#   .##....#.   ......#..   ..####...
    ..#...#..   ..#...#..   ...#...#.   ..##..#..   .#...#...   .#....#..
    ...#.#...   .#.....#.   ....#.#..   ...###...   ..#..#...   #......#.
    ....#....   .#.....#.   .....#...   ....##...   ...##....   #......#.
    ...#.#...   .#.....#.   ....#.#..   ...#.##..   ...#.#...   #......#.
    ..#...#..   ..#...#..   ...#...#.   ..#...##.   ..#...#..   .#....#..
    .#.....#.   ...###...   ..#.....#   .#.....##   ..#......   ..####...
    .........   .........   .........   .........   .........   .........
"""
NAMES = "X", "O", "X, moved", "X, thicker", "X, tilted", "O, wider"
FILTERS = """
    #..   #.#   ..#
    .#.   .#.   .#.
    ..#   #.#   #..
"""
SMALL = """
    #......
    .#...#.
    ..#.#..
    ...#...
    ..#.#..
    .#...#.
    ......#
"""
VOTE = 2.0  # for the right answer, of the two pictures that the weights are computed from


def grids(drawing):
    """Ink (#) is 1 and paper (.) is -1: float32 [N, rows, columns] of N drawings side by side."""
    rows = [row.split() for row in drawing.strip().splitlines()]
    return np.array([[[1 if cell == "#" else -1 for cell in row[index]] for row in rows]
                     for index in range(len(rows[0]))], np.float32)


def build_network(images):
    """The layers of the course page.

    Args:
        images: float32 [N, 9, 9, 1]; the first is an X, the second an O.
    Returns:
        a dict of the layers: "maps" and "rectified" [N, 7, 7, 3], "pooled" [N, 4, 4, 3],
        "smallest" [N, 2, 2, 3], "weights" [12, 2], "biases" [2], "votes" and "probabilities"
        [N, 2].
    """
    kernel = tf.constant(np.moveaxis(grids(FILTERS), 0, -1)[:, :, np.newaxis])
    maps = tf.nn.conv2d(images, kernel, strides=[1, 1, 1, 1], padding="VALID")
    rectified = tf.nn.relu(maps)
    # SAME: seven is odd, so the last window in a row holds what is left of it.
    pooled = tf.nn.max_pool(rectified, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    smallest = tf.nn.max_pool(pooled, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    flat = tf.reshape(smallest, [-1, 12])
    # The weights for X point from the O to the X; half-way between the two both votes are zero.
    difference, middle = flat[0] - flat[1], (flat[0] + flat[1]) / 2.0
    towards_x = difference * 2.0 * VOTE / tf.reduce_sum(tf.square(difference))
    weights = tf.stack([towards_x, -towards_x], axis=1)
    biases = -tf.reduce_sum(middle[:, tf.newaxis] * weights, axis=0)
    votes = tf.matmul(flat, weights) + biases
    return dict(maps=maps, rectified=rectified, pooled=pooled, smallest=smallest, weights=weights,
                biases=biases, votes=votes, probabilities=tf.nn.softmax(votes))


def compute():
    """Return the layers of `build_network` for LETTERS, and the feature maps of the sliding.

    Returns:
        layers: a dict of float32 arrays.
        slides: float32 [5, 5] and [3, 3], the first filter on SMALL with stride 1 and 2.
    """
    graph = tf.Graph()
    with graph.as_default():
        layers = build_network(tf.constant(grids(LETTERS)[..., np.newaxis]))
        small = tf.constant(grids(SMALL)[..., np.newaxis])
        kernel = tf.constant(grids(FILTERS)[0][:, :, np.newaxis, np.newaxis])
        slides = [tf.nn.conv2d(small, kernel, strides=[1, stride, stride, 1], padding="VALID")
                  for stride in (1, 2)]
    # On the CPU: a GPU's algorithm may round where the CPU is exact.
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as session:
        layers, slides = session.run([layers, slides])
    return layers, [slide[0, ..., 0] for slide in slides]


def write_steps(folder):
    """Compute the steps and draw them into ex01_steps.png, ex01_decision.png and ex01_sliding.gif.

    Raises:
        UserError: they cannot be written.
    """
    console.writable_folder(folder)
    layers, slides = compute()
    from support import step_drawings
    from support.animation import save_gif
    letters, filters = grids(LETTERS), grids(FILTERS)
    save_png(step_drawings.draw_steps(letters[:2], filters, *(
        layers[name][:2] for name in ("maps", "rectified", "pooled"))),
        os.path.join(folder, "ex01_steps.png"))
    save_png(step_drawings.draw_decision(
        letters, NAMES, layers["pooled"], layers["smallest"],
        (layers["weights"], layers["biases"]), layers["votes"], layers["probabilities"]),
        os.path.join(folder, "ex01_decision.png"))
    moments = [(feature_map, count, stride) for stride, feature_map in enumerate(slides, 1)
               for count in range(1, feature_map.size + 1)]
    frames = [step_drawings.draw_slide(grids(SMALL)[0], filters[0], *moment) for moment in moments]
    # A map that is whole stays for a while.
    times = [2500 if count == feature_map.size else 450 for feature_map, count, _ in moments]
    save_gif(frames, times, os.path.join(folder, "ex01_sliding.gif"))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", metavar="DIR", default=console.IMAGES,
                        help="where to write, replacing what is there (default: images/)")
    write_steps(parser.parse_args(arguments).output_dir)


if __name__ == "__main__":
    console.run(main)
