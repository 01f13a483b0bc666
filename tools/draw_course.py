#!/usr/bin/env python
"""Draw how a convolutional network tells an X from an O, for the course: every number is computed.

    python tools/draw_course.py     images/ex01_sliding.gif, and in French fr_convolution.png,
                                    fr_glissement.gif, fr_xo_filtres.png, fr_pooling_relu.png,
                                    fr_decision.png and fr_probabilites.png

The filters are given; the weights of the fully connected layer are computed from the X and the O
alone, as a classifier half-way between the two.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib")

import numpy as np

from support import console
from support.arguments import add_output_dir
from support.tf1 import tf

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
NAMES = "X", "O", "X décalé", "X épais", "X tourné", "O large"
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
SCORE = 1.8  # of the right class, for both letters that the weights are computed from


def grids(drawing):
    """Ink (#) is 1 and paper (.) is -1: float32 [N, rows, columns] of N drawings side by side."""
    rows = [row.split() for row in drawing.strip().splitlines()]
    return np.array([[[1 if cell == "#" else -1 for cell in row[index]] for row in rows]
                     for index in range(len(rows[0]))], np.float32)


def compute():
    """Compute what is drawn: (layers, slides), all float32.

    Layers, a dict, are those of LETTERS: "maps" and "rectified" [N,7,7,3], "pooled" [N,4,4,3],
    "smallest" [N,2,2,3], "weights" [12,2], "biases" [2], "scores" and "probabilities" [N,2].
    Slides are the maps [5,5] and [3,3] of the first filter over SMALL, with stride 1 and 2.
    """
    with tf.Graph().as_default() as graph:
        kernel = tf.constant(np.moveaxis(grids(FILTERS), 0, -1)[:, :, np.newaxis])
        maps = tf.nn.conv2d(grids(LETTERS)[..., np.newaxis], kernel, 1, "VALID")
        rectified = tf.nn.relu(maps)
        # SAME: seven is odd, so the last window in a row holds what is left of it.
        pooled = tf.nn.max_pool(rectified, 2, 2, "SAME")
        smallest = tf.nn.max_pool(pooled, 2, 2, "SAME")
        flat = tf.reshape(smallest, [-1, 12])
        # The weights for X point from the O to the X; half-way between them both scores are zero.
        difference, middle = flat[0] - flat[1], (flat[0] + flat[1]) / 2.0
        towards_x = difference * 2.0 * SCORE / tf.reduce_sum(tf.square(difference))
        weights = tf.stack([towards_x, -towards_x], axis=1)
        biases = -tf.reduce_sum(middle[:, tf.newaxis] * weights, axis=0)
        scores = tf.matmul(flat, weights) + biases
        layers = dict(maps=maps, rectified=rectified, pooled=pooled, smallest=smallest,
                      weights=weights, biases=biases, scores=scores,
                      probabilities=tf.nn.softmax(scores))
        slides = [tf.nn.conv2d(grids(SMALL)[..., np.newaxis], kernel[..., :1], stride, "VALID")
                  for stride in (1, 2)]
    # On the CPU: a GPU's algorithm may round where the CPU is exact.
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as session:
        layers, slides = session.run([layers, slides])
    return layers, [slide[0, ..., 0] for slide in slides]


def main(arguments=None):
    parser = console.Parser(description=__doc__.splitlines()[0])
    add_output_dir(parser)
    folder = console.writable_folder(parser.parse_args(arguments).output_dir)
    from figures import ex01
    layers, slides = compute()
    letters, filters = grids(LETTERS), grids(FILTERS)

    def draw(name, function, *values, **options):
        path = os.path.join(folder, name)
        function(*values, path=path, **options)
        console.say("Drew %s" % path)

    for name, language in (("ex01_sliding.gif", "en"), ("fr_glissement.gif", "fr")):
        draw(name, ex01.draw_sliding, grids(SMALL)[0], filters[0], slides, language=language)
    draw("fr_convolution.png", ex01.draw_convolution, letters[0], filters[0])
    draw("fr_xo_filtres.png", ex01.draw_feature_maps, letters[:2], filters, layers["maps"][:2])
    draw("fr_pooling_relu.png", ex01.draw_pooling, *[
        layers[name][0, ..., 0] for name in ("maps", "rectified", "pooled")])
    draw("fr_decision.png", ex01.draw_decision, layers["smallest"][0],
         (layers["weights"], layers["biases"]), layers["scores"][0])
    draw("fr_probabilites.png", ex01.draw_probabilities, letters, NAMES, layers["probabilities"])


if __name__ == "__main__":
    console.run(main)
