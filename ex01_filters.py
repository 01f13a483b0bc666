#!/usr/bin/env python
"""Exercise 1: make the horizontal, then the vertical patterns of a picture stand out.

    python ex01_filters.py                    images/source.jpg -> images/ex01_*.png
    python ex01_filters.py photo.jpg --output-dir out
    python ex01_filters.py --kernel sharpen photo.jpg             a filter by name, in colour
    python ex01_filters.py --kernel "0 -1 0 -1 5 -1 0 -1 0" photo.jpg       or by its numbers

One tf.nn.conv2d applies both Sobel filters at once: its kernel [3, 3, 1, 2] holds two 3x3 filters
for one channel of input (the luma). Small integers are exact in float32, so the results are the
same pixels on every machine, with TensorFlow 1.15 as with 2.21.
"""
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("matplotlib")

import argparse
import os
import sys

import numpy as np
from PIL import Image

from support import console
from support.arguments import add_output_dir
from support.picture import read_picture
from support.tf1 import tf

SOURCE = os.path.join(console.IMAGES, "source.jpg")

# Sobel's filters (Sobel and Feldman, 1968): the difference of the two sides of a pixel, smoothed
# along the edge. From row to row it responds to horizontal patterns, from column to column to
# vertical ones. conv2d does not flip a filter as the mathematical convolution does; for these
# two a flip only changes the sign, and the sign is dropped.
HORIZONTAL_FILTER = np.array([[-1, -2, -1],
                              [0, 0, 0],
                              [1, 2, 1]], np.float32)
VERTICAL_FILTER = HORIZONTAL_FILTER.T

# Filters of any course, for --kernel; the blur is a binomial filter and keeps the brightness.
NAMED_KERNELS = {
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32),
    "blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16,
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32),
    "emboss": np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32),
    "outline": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32),
}

STRIP_PIXELS = 1 << 20  # a picture is filtered in strips of about this many pixels


def build_graph(kernel, signed=False):
    """Build the graph of one conv2d.

    Args:
        kernel: float32 [side, side, 1, filters], the side odd.
        signed: clip negative responses to zero, instead of taking their absolute value.
    Returns:
        graph: tf.Graph.
        pixels: uint8 placeholder [N, rows + side - 1, columns + side - 1, 1], N channels with a
            border.
        responses: uint8 [N, rows, columns, filters], clipped to 255.
    """
    graph = tf.Graph()
    with graph.as_default():
        pixels = tf.placeholder(tf.uint8, [None, None, None, 1], name="pixels")
        responses = tf.nn.conv2d(tf.cast(pixels, tf.float32), tf.constant(kernel),
                                 strides=[1, 1, 1, 1], padding="VALID", name="filters")
        strengths = tf.nn.relu(responses) if signed else tf.abs(responses)
        responses = tf.cast(tf.minimum(tf.round(strengths), 255.0), tf.uint8, name="responses")
    return graph, pixels, responses


def apply_filters(channels, filters, signed=False):
    """Filter a picture, strip by strip: the memory that conv2d needs does not grow with it.

    Args:
        channels: uint8 [N, rows, columns]; each is filtered separately.
        filters: a list of filters, float32 [side, side] each.
        signed: as for build_graph().
    Returns:
        uint8 [filters, N, rows, columns].
    """
    graph, pixels, responses = build_graph(np.stack(filters, axis=-1)[:, :, np.newaxis], signed)
    border = len(filters[0]) // 2
    count, rows, columns = channels.shape
    # Repeating the outermost pixels makes no step at the border, so no frame of false edges.
    bordered = np.pad(channels, ((0, 0), (border, border), (border, border)), mode="edge")
    filtered = np.empty((len(filters), count, rows, columns), np.uint8)
    strip_rows = max(1, STRIP_PIXELS // (count * columns))
    # On the CPU: a GPU's algorithm may round where the CPU is exact.
    with tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0})) as session:
        for top in range(0, rows, strip_rows):
            strip = bordered[:, top:top + strip_rows + 2 * border, :, np.newaxis]
            found = session.run(responses, {pixels: strip})
            filtered[:, :, top:top + strip_rows] = np.moveaxis(found, -1, 0)
    return filtered


def read_source(path, outputs):
    """Return the picture, a Pillow image in RGB; refuse to replace it by one of `outputs`."""
    if os.path.realpath(path) in map(os.path.realpath, outputs):
        raise console.UsageError("%s would be replaced by its own result; choose another "
                                 "--output-dir." % path)
    picture = read_picture(path)
    console.writable_folder(os.path.dirname(outputs[0]))
    return picture


def write_filters(path, folder):
    """Exercise 1 a and b: read the picture, write the two results and the overview.

    Raises:
        UserError: the picture cannot be read, or the results cannot be written.
    """
    from figures.common import save_png
    from figures.ex01 import draw_overview
    outputs = [os.path.join(folder, "ex01_%s.png" % name)
               for name in ("horizontal", "vertical", "filters")]
    picture = read_source(path, outputs)
    filters = [HORIZONTAL_FILTER, VERTICAL_FILTER]
    luma = np.asarray(picture.convert("L"))
    patterns = apply_filters(luma[np.newaxis], filters)[:, 0]
    for pattern, output in zip(patterns, outputs):
        save_png(Image.fromarray(pattern), output)
    draw_overview(picture, patterns, filters, outputs[-1])


def write_kernel(path, folder, kernel):
    """Write ex01_kernel.png, what one filter, float32 [side, side], makes of each colour."""
    from figures.common import save_png
    output = os.path.join(folder, "ex01_kernel.png")
    picture = read_source(path, [output])
    channels = np.stack([np.asarray(channel) for channel in picture.split()])
    filtered, = apply_filters(channels, [kernel], signed=True)
    save_png(Image.merge("RGB", [Image.fromarray(channel) for channel in filtered]), output)


def kernel_type(text):
    """An argparse type: a name, or the numbers of a square of odd side -> float32 [side, side]."""
    if text in NAMED_KERNELS:
        return NAMED_KERNELS[text]
    try:
        numbers = np.array(text.replace(",", " ").split(), np.float32)
    except ValueError:
        raise argparse.ArgumentTypeError("%r is neither numbers nor one of %s"
                                         % (text, ", ".join(sorted(NAMED_KERNELS))))
    side = int(round(len(numbers) ** 0.5))
    if side ** 2 != len(numbers) or side % 2 == 0:
        raise argparse.ArgumentTypeError("%d numbers do not form a square of odd side (1, 9, 25...)"
                                         % len(numbers))
    if not np.abs(numbers).max() < 1e6:  # so that sums are finite
        raise argparse.ArgumentTypeError("%r has a number that is not below a million" % text)
    return numbers.reshape(side, side)


def main(arguments=None):
    parser = console.Parser(
        prog="ex01_filters.py",
        description="Make the horizontal and the vertical patterns of a picture stand out, with "
                    "tf.nn.conv2d. Writes ex01_horizontal.png, ex01_vertical.png and "
                    "ex01_filters.png, the source and both side by side.")
    parser.add_argument("image", metavar="IMAGE", nargs="?", default=SOURCE,
                        help="A picture file, or - for standard input (default: "
                             "images/source.jpg).")
    add_output_dir(parser)
    parser.add_argument("--kernel", metavar="KERNEL", type=kernel_type,
                        help="Write only ex01_kernel.png, the colours filtered by this kernel: the "
                             "numbers of a square of odd side, row by row in quotes, or %s."
                             % ", ".join(sorted(NAMED_KERNELS)))
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--kernel" in words[:-1]:  # argparse would take "-1,0,1" for an option of its own
        place = words.index("--kernel")
        words[place:place + 2] = ["--kernel=" + words[place + 1]]
    options = parser.parse_args(words)
    if options.kernel is not None:
        write_kernel(options.image, options.output_dir, options.kernel)
    else:
        write_filters(options.image, options.output_dir)


if __name__ == "__main__":
    console.run(main)
