#!/usr/bin/env python
"""Exercise 1: make the horizontal, then the vertical patterns of a picture stand out.

    python ex01_filters.py                    images/source.jpg -> images/ex01_*.png
    python ex01_filters.py photo.jpg --output-dir out
    python ex01_filters.py --steps            how a convolution works, in one picture

One tf.nn.conv2d applies both Sobel filters at once: its kernel [3, 3, 1, 2] holds two 3x3 filters
for one channel of input (the luma). Small integers are exact in float32, so the results are the
same pixels on every machine, with TensorFlow 1.15 as with 2.21.
"""
import argparse
import os

import numpy as np
from PIL import Image

from support import console
from support.figures import save_png
from support.picture import read_picture
from support.tf1 import tf

SOURCE = os.path.join(console.IMAGES, "source.jpg")

# Sobel's filters (Sobel and Feldman, 1968): the difference of the two sides of a pixel, smoothed
# along the edge. From row to row it answers to horizontal patterns, from column to column to
# vertical ones. conv2d does not flip a filter as the mathematical convolution does; for these
# two a flip only changes the sign, and the sign is dropped.
HORIZONTAL_FILTER = np.array([[-1, -2, -1],
                              [0, 0, 0],
                              [1, 2, 1]], np.float32)
VERTICAL_FILTER = HORIZONTAL_FILTER.T

STRIP_PIXELS = 1 << 20  # a picture is filtered in strips of about this many pixels


def build_graph():
    """One conv2d with two filters.

    Returns:
        graph: tf.Graph.
        pixels: uint8 placeholder [1, rows + 2, columns + 2, 1], luma with a border of one pixel.
        magnitudes: uint8 [1, rows, columns, 2], |horizontal| and |vertical| response, cut at 255.
    """
    graph = tf.Graph()
    with graph.as_default():
        pixels = tf.placeholder(tf.uint8, [1, None, None, 1], name="pixels")
        kernel = np.stack([HORIZONTAL_FILTER, VERTICAL_FILTER], axis=-1).reshape(3, 3, 1, 2)
        responses = tf.nn.conv2d(tf.cast(pixels, tf.float32), tf.constant(kernel),
                                 strides=[1, 1, 1, 1], padding="VALID", name="filters")
        magnitudes = tf.cast(tf.minimum(tf.abs(responses), 255.0), tf.uint8, name="magnitudes")
    return graph, pixels, magnitudes


def apply_filters(luma):
    """Filter a picture, strip by strip: the memory that conv2d needs does not grow with it.

    Args:
        luma: uint8 [rows, columns].
    Returns:
        uint8 [2, rows, columns]: the horizontal patterns, the vertical patterns.
    """
    graph, pixels, magnitudes = build_graph()
    rows, columns = luma.shape
    # Repeating the outermost pixels makes no step at the border, so no frame of false edges.
    bordered = np.pad(luma, 1, mode="edge")
    patterns = np.empty((2, rows, columns), np.uint8)
    strip_rows = max(1, STRIP_PIXELS // columns)
    # On the CPU: a GPU's algorithm may round where the CPU is exact.
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as session:
        for top in range(0, rows, strip_rows):
            strip = bordered[top:top + strip_rows + 2]
            filtered = session.run(magnitudes, {pixels: strip[np.newaxis, :, :, np.newaxis]})
            patterns[:, top:top + strip_rows] = np.moveaxis(filtered[0], -1, 0)
    return patterns


def write_filters(path, folder):
    """Exercise 1 a and b: read the picture, write the two results and the overview.

    Raises:
        UserError: the picture cannot be read, or the results cannot be written.
    """
    outputs = [os.path.join(folder, "ex01_%s.png" % name)
               for name in ("horizontal", "vertical", "filters")]
    if os.path.realpath(path) in map(os.path.realpath, outputs):
        raise console.UsageError("%s would be replaced by its own result; choose another "
                                 "--output-dir." % path)
    picture = read_picture(path)
    console.writable_folder(folder)
    patterns = apply_filters(np.asarray(picture.convert("L")))
    for pattern, output in zip(patterns, outputs):
        save_png(Image.fromarray(pattern), output)
    from support.filter_drawings import draw_overview
    save_png(draw_overview(picture, patterns, [HORIZONTAL_FILTER, VERTICAL_FILTER]), outputs[-1])


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="ex01_filters.py",
        description="Make the horizontal and the vertical patterns of a picture stand out, with "
                    "tf.nn.conv2d. Writes ex01_horizontal.png, ex01_vertical.png and "
                    "ex01_filters.png, the source and both side by side.")
    parser.add_argument("image", metavar="IMAGE", nargs="?",
                        help="a picture file, or - for standard input (default: "
                             "images/source.jpg)")
    parser.add_argument("--output-dir", metavar="DIR", default=console.IMAGES,
                        help="where to write, replacing what is there (default: images/ beside "
                             "this script)")
    parser.add_argument("--steps", action="store_true",
                        help="instead, draw ex01_steps.png: convolution, ReLU and max-pooling "
                             "explained on an X and an O (by tools/draw_steps.py)")
    options = parser.parse_args(arguments)
    if options.steps and options.image is not None:
        parser.error("--steps draws its own X and O; give it no IMAGE")
    return options


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.steps:
        from tools.draw_steps import write_steps
        write_steps(options.output_dir)
    else:
        write_filters(SOURCE if options.image is None else options.image, options.output_dir)


if __name__ == "__main__":
    console.run(main)
