#!/usr/bin/env python
"""Exercise 1: make the horizontal, then the vertical patterns of a picture stand out.

    python ex01_filters.py                    images/source.jpg -> images/ex01_*.png
    python ex01_filters.py photo.jpg --output-dir /tmp/out
    python ex01_filters.py --steps            how a convolution works, in one picture

One tf.nn.conv2d applies both Sobel filters at once: its kernel [3, 3, 1, 2] holds two 3x3 filters
for one channel of input (the luma). Small integers are exact in float32, so the results are the
same pixels on every machine, with TensorFlow 1.15 as with 2.x.
"""
import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
import warnings
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "images", "source.jpg")
IMAGES = os.path.join(HERE, "images")

# Sobel's filters (Sobel and Feldman, 1968): the difference of the two sides of a pixel, smoothed
# along the edge. From row to row it answers to horizontal patterns, from column to column to
# vertical ones. conv2d does not flip a filter as the mathematical convolution does; for these
# two a flip only changes the sign, and the sign is dropped.
HORIZONTAL_FILTER = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], np.float32)
VERTICAL_FILTER = HORIZONTAL_FILTER.T

STRIP_PIXELS = 1 << 20          # a picture is filtered in strips of about this many pixels
PANEL = 640                     # the overview shows each picture in this many pixels square


class Refusal(Exception):
    """What the user has to know, as one sentence."""


@contextlib.contextmanager
def held_stderr():
    """Hold back what is written to stderr, by C++ too, and let it out only if the block fails."""
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def sudden_interruption():
    """Let Ctrl-C end the process at once, without a KeyboardInterrupt.

    Raised amid the import of a library in C, that exception may come out as an ImportError.
    """
    raising = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not raising or threading.current_thread() is not threading.main_thread():
        yield  # somebody has seen to it, or may not
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def import_tensorflow():
    """TensorFlow's version 1 API, from 1.15 or from 2.x. Imported late: a wrong path is told at once.

    Raises: Refusal if TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        # TensorFlow 2.21 greets before it looks at the log level.
        with sudden_interruption(), held_stderr():
            import tensorflow.compat.v1 as tf
    except ModuleNotFoundError as error:
        raise Refusal(f"{error}; install what is missing with "
                      f"'python -m pip install -r {os.path.join(HERE, 'requirements.txt')}'.")
    return tf


def start_session(graph):
    """A tf.Session for the graph, on the CPU: a GPU's algorithm may round where the CPU is exact."""
    tf = import_tensorflow()
    return tf.Session(graph=graph, config=tf.ConfigProto(device_count={"GPU": 0}))


def read_picture(path):
    """The picture as one sees it: upright, opaque on white, 8 bits.

    Returns: PIL.Image of mode "L" or "RGB".
    Raises: Refusal if the file cannot be read as a picture.
    """
    if not os.path.exists(path):
        raise Refusal(f"there is no file '{path}'.")
    if os.path.isdir(path):
        raise Refusal(f"'{path}' is a folder; give one picture.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # of odd metadata; what cannot be read still raises
            with Image.open(path) as picture:
                picture.load()
                upright = ImageOps.exif_transpose(picture)
    except Image.UnidentifiedImageError:
        raise Refusal(f"'{path}' is not a picture that Pillow can read.")
    except Exception as error:      # a damaged file makes decoders raise nearly anything
        raise Refusal(f"'{path}' cannot be read as a picture: {error or type(error).__name__}.")
    return flatten(upright)


def flatten(picture):
    """Any mode that Pillow opens -> "L" or "RGB", by its own convert() where that does right.

    convert() clips 16-bit pixels to 255 and forgets transparency, so those two are done here.
    """
    if picture.mode.startswith("I"):            # "I" is how Pillow opens some 16-bit files
        return Image.fromarray((np.clip(np.asarray(picture), 0, 65535) >> 8).astype(np.uint8))
    if picture.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, lab, rgb, outputMode="RGB")
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    if picture.mode in ("1", "L", "F"):
        return picture.convert("L")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def build_graph():
    """The exercise: one conv2d, two filters.

    Returns:
        graph: tf.Graph.
        pixels: uint8 placeholder [1, rows + 2, columns + 2, 1], luma with a border of one pixel.
        magnitudes: uint8 [1, rows, columns, 2], |horizontal| and |vertical| response, cut at 255.
    """
    tf = import_tensorflow()
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

    Args: luma: uint8 [rows, columns].
    Returns: uint8 [2, rows, columns]: the horizontal patterns, the vertical patterns.
    """
    graph, pixels, magnitudes = build_graph()
    rows, columns = luma.shape
    # Repeating the outermost pixels makes no step at the border, so no frame of false edges.
    bordered = np.pad(luma, 1, mode="edge")
    patterns = np.empty((2, rows, columns), np.uint8)
    strip_rows = max(1, STRIP_PIXELS // columns)
    with start_session(graph) as session:
        for top in range(0, rows, strip_rows):
            strip = bordered[top:top + strip_rows + 2]
            filtered = session.run(magnitudes, {pixels: strip[np.newaxis, :, :, np.newaxis]})
            patterns[:, top:top + strip_rows] = np.moveaxis(filtered[0], -1, 0)
    return patterns


def save_png(picture, path):
    """Write the whole file or none, and the same bytes everywhere.

    Z_RLE looks for runs only, which leaves a compressor no choice: zlib 1.2.13 and zlib-ng 2.3.3,
    which newer Pillows carry, agree to the byte; by default they do not. It is also twice as
    fast, and no larger on these results, where little but a run ever repeats.
    """
    partial = path + ".partial"
    try:
        picture.save(partial, format="PNG", compress_type=zlib.Z_RLE)
        os.replace(partial, path)
    except OSError as error:
        raise Refusal(f"'{path}' cannot be written: {error.strerror or error}.")
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    print(f"Wrote {path}")


def fit(picture):
    """The picture scaled to fill a panel, as a sharp mosaic if it is enlarged."""
    scale = min(PANEL / picture.width, PANEL / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.LANCZOS if scale < 1 else Image.NEAREST, reducing_gap=3.0)


def draw_overview(picture, patterns):
    """The source and the two results side by side, titled, with the filters beside their work.

    Drawn by Pillow, with the font that comes with matplotlib: Pillow 9.5 and 13 draw the same
    pixels, which two versions of matplotlib do not.

    Args: picture: PIL.Image; patterns: uint8 [2, rows, columns].
    Returns: PIL.Image of mode "RGB".
    """
    import matplotlib       # only for its font

    def font(size):
        path = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)

    panels = [
        ("Source", None, f"{picture.width} × {picture.height} pixels,\nfiltered in shades of grey"),
        ("(a) Horizontal patterns", HORIZONTAL_FILTER, "The filter: bright where a pixel's\n"
                                                       "upper and lower sides differ"),
        ("(b) Vertical patterns", VERTICAL_FILTER, "The filter: bright where a pixel's\n"
                                                   "left and right sides differ")]
    shown = [fit(image) for image in [picture] + [Image.fromarray(p) for p in patterns]]
    margin, title_height, cell = 28, 76, 34
    tallest = shown[0].height
    width = margin + len(panels) * (PANEL + margin)
    overview = Image.new("RGB", (width, title_height + tallest + 3 * cell + 2 * margin), "white")
    draw = ImageDraw.Draw(overview)
    ink, pale = (28, 32, 40), (96, 104, 116)
    below = title_height + tallest + margin
    for index, ((title, kernel, caption), image) in enumerate(zip(panels, shown)):
        left = margin + index * (PANEL + margin)
        draw.text((left, 22), title, ink, font(28))
        overview.paste(image, (left + (PANEL - image.width) // 2, title_height))
        text_left = left
        if kernel is not None:
            draw_kernel(draw, kernel, left, below, cell, font(17))
            text_left += 3 * cell + 20
        draw.multiline_text((text_left, below + 22), caption, pale, font(20), spacing=10)
    return overview


def draw_kernel(draw, kernel, left, top, cell, font):
    """A filter as a grid of numbers, orange above zero and blue below, as in the steps' picture."""
    for (row, column), weight in np.ndenumerate(kernel.astype(int)):
        x, y = left + column * cell, top + row * cell
        fill = (253, 219, 199) if weight > 0 else (209, 229, 240) if weight < 0 else (247, 247, 247)
        draw.rectangle([x, y, x + cell, y + cell], fill, (150, 156, 166))
        label = f"{weight}".replace("-", "−")
        draw.text((x + cell / 2, y + cell / 2), label, (28, 32, 40), font, anchor="mm")


def write_filters(path, output_dir):
    """Exercise 1 a and b: read the picture, write the two results and the overview."""
    outputs = [os.path.join(output_dir, f"ex01_{name}.png")
               for name in ("horizontal", "vertical", "filters")]
    if os.path.realpath(path) in map(os.path.realpath, outputs):
        raise Refusal(f"'{path}' would be replaced by its own result; choose another --output-dir.")
    picture = read_picture(path)
    make_folder(output_dir)
    patterns = apply_filters(np.asarray(picture.convert("L")))
    for pattern, output in zip(patterns, outputs):
        save_png(Image.fromarray(pattern), output)
    save_png(draw_overview(picture, patterns), outputs[-1])


# ---- The steps: the page's explanation of a convolution, computed and drawn ----

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
PATTERN_NAMES = ["arm", "centre", "other arm"]
ONES = 1.6                      # a scale on which 1 and -1 are pale enough to read upon
INK, GREY, GREEN, PURPLE = "#1c2028", "#606874", "#148a3c", "#8a2fc0"


def grid(drawing):
    """Ink (#) is +1 and paper (.) is -1, float32 [rows, columns]."""
    return np.array([[1 if c == "#" else -1 for c in row] for row in drawing.split()], np.float32)


def compute_steps():
    """The three layers of the page on the X and the O.

    Returns: float32 arrays, first axis X and O, last axis the three filters: feature maps
        [2, 7, 7, 3], the same after ReLU [2, 7, 7, 3] and after max-pooling [2, 4, 4, 3].
    """
    tf = import_tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        images = tf.placeholder(tf.float32, [2, 9, 9, 1], name="images")
        kernel = np.stack([grid(p) for p in PATTERNS], axis=-1)[:, :, np.newaxis, :]
        maps = tf.nn.conv2d(images, tf.constant(kernel), strides=[1, 1, 1, 1], padding="VALID")
        rectified = tf.nn.relu(maps)
        # SAME: seven is odd, so the last window in a row holds what is left of it.
        pooled = tf.nn.max_pool(rectified, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    with start_session(graph) as session:
        letters = np.stack([grid(X), grid(O)])[..., np.newaxis]
        return session.run([maps, rectified, pooled], {images: letters})


class Sheet:
    """A matplotlib figure measured in cells, x to the right and y down, that draws number grids."""

    def __init__(self, columns, rows, cell_inches=0.36):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        matplotlib.rcdefaults()         # whatever the user's matplotlibrc says
        self.figure = Figure(figsize=(columns * cell_inches, rows * cell_inches), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes([0, 0, 1, 1])
        self.axes.set(xlim=(0, columns), ylim=(rows, 0))
        self.axes.axis("off")
        self.colours = matplotlib.colormaps["RdBu_r"]

    def text(self, x, y, words, points=13, colour=INK, **style):
        self.axes.text(x, y, words, fontsize=points, color=colour, va="center", **style)

    def numbers(self, left, top, values, full_scale=9.0):
        """A grid with a number in each cell: red above zero, blue below, deepest at full_scale."""
        for (row, column), value in np.ndenumerate(values):
            shade = self.colours(0.5 + 0.31 * value / full_scale)
            self.frame(left + column, top + row, 1, 1, GREY, 0.4, facecolor=shade)
            # A digit is centred by its own height, a text by that of its line: hence 0.54.
            self.text(left + column + 0.5, top + row + 0.54, f"{value:.0f}".replace("-", "−"), 13,
                      INK if value else GREY, ha="center")
        self.frame(left, top, values.shape[1], values.shape[0], INK, 1.2)

    def frame(self, left, top, width, height, colour, thickness, facecolor="none"):
        from matplotlib.patches import Rectangle
        self.axes.add_patch(Rectangle((left, top), width, height, facecolor=facecolor,
                                      edgecolor=colour, linewidth=thickness,
                                      zorder=1 if thickness < 3 else 5))

    def arrow(self, start, end, colour=INK):
        self.axes.annotate("", end, start, zorder=6, arrowprops=dict(
            arrowstyle="-|>,head_width=0.35,head_length=0.6", color=colour, linewidth=1.8,
            shrinkA=0, shrinkB=0))

    def picture(self):
        self.canvas.draw()
        return Image.fromarray(np.array(self.canvas.buffer_rgba())).convert("RGB")


def draw_one_position(sheet, left, top, start, window, name, colour):
    """The arithmetic of one cell of the first feature map, from the window's pixels to the sum.

    Args: left, top: where; start: the arrow's beginning; window: (row, column) on the X.
    """
    row, column = window
    patch, pattern = grid(X)[row:row + 3, column:column + 3], grid(PATTERNS[0])
    products = patch * pattern
    sheet.arrow(start, (left - 0.2, top + 1.5), colour)
    for x, values, label, sign in [(0, patch, name, "×"), (4.5, pattern, "the filter", "="),
                                   (9, products, "cell by cell", "")]:
        sheet.numbers(left + x, top, values, ONES)
        sheet.text(left + x + 1.5, top + 3.6, label, 13, GREY, ha="center")
        sheet.text(left + x + 3.75, top + 1.5, sign, 20, ha="center")
    sheet.frame(left, top, 3, 3, colour, 4)
    sheet.arrow((left + 12.3, top + 1.5), (left + 14.0, top + 1.5))
    for line, terms in enumerate(products):
        signed = "  ".join("+ 1" if term > 0 else "− 1" for term in terms)
        sheet.text(left + 14.5, top + 0.54 + line, signed, 15)
    sheet.text(left + 19.4, top + 1.5, "=", 20, ha="center")
    sheet.numbers(left + 20.4, top + 1, products.sum().reshape(1, 1))
    sheet.frame(left + 20.4, top + 1, 1, 1, colour, 4)


def draw_pipeline(sheet, left, top, letter, maps, rectified, pooled):
    """Three rows, one a filter: the letter's feature map, then ReLU, then max-pooling."""
    for x, name, meaning in [(0, f"Feature map of the {letter}", "49 positions, 49 sums"),
                             (8.8, "ReLU", "below zero becomes 0"),
                             (17.6, "Max-pooling", "largest of each 2×2")]:
        sheet.text(left + x, top - 2.3, name, 15, weight="bold")
        sheet.text(left + x, top - 1.1, meaning, 13, GREY)
    for index in range(3):
        y = top + 8 * index
        sheet.numbers(left, y, maps[..., index])
        sheet.arrow((left + 7.2, y + 3.5), (left + 8.6, y + 3.5))
        sheet.numbers(left + 8.8, y, rectified[..., index])
        sheet.frame(left + 8.8, y, 2, 2, INK, 3)
        sheet.arrow((left + 16.0, y + 3.5), (left + 17.4, y + 3.5))
        sheet.numbers(left + 17.6, y + 1.5, pooled[..., index])
        sheet.frame(left + 17.6, y + 1.5, 1, 1, INK, 3)


def draw_steps(maps, rectified, pooled):
    """The explanation from top to bottom, from the arrays of compute_steps(), as a PIL.Image."""
    sheet = Sheet(59, 52)
    sheet.text(1.5, 1.9, "How a convolution tells an X from an O", 30, weight="bold")

    sheet.text(1.5, 5.0, "1  A picture is numbers", 18, weight="bold")
    sheet.text(1.5, 6.4, "ink is 1, paper is −1", 14, GREY)
    for left, letter in [(1.5, X), (48.5, O)]:
        sheet.numbers(left, 7.8, grid(letter), ONES)
    sheet.text(48.5, 6.4, "the O is numbers, too", 14, GREY)

    sheet.text(14.5, 5.0, "2  A filter looks for one pattern", 18, weight="bold")
    sheet.text(14.5, 6.4, "multiply the cells of a window by those of the filter, add up: "
                          "how alike are they?", 14, GREY)
    for window, y, arrow, name, verdict, colour in [
            ((1, 1), 7.8, (5.5, 8.9), "an arm", "9: the same pattern.\nThe most there can be.", GREEN),
            ((1, 5), 13.1, (9.6, 11.8), "the other arm", "1: hardly alike.\nThe opposite would be −9.",
             PURPLE)]:
        draw_one_position(sheet, 14.5, y, arrow, window, name, colour)
        sheet.frame(1.5 + window[1], 7.8 + window[0], 3, 3, colour, 4)
        sheet.text(37.2, y + 1.5, verdict, 15, linespacing=1.5)

    sheet.text(1.5, 20.0, "3  Slide each filter over the whole picture, then keep what matters", 18,
               weight="bold")
    for left, letter, index in [(7.4, "X", 0), (35.4, "O", 1)]:
        draw_pipeline(sheet, left, 24.3, letter, maps[index], rectified[index], pooled[index])
    sheet.text(1.5, 22.0, "Filter", 15, weight="bold")
    sheet.text(1.5, 23.2, "one pattern", 13, GREY)
    for index, pattern in enumerate(PATTERNS):
        y = 24.3 + 8 * index
        sheet.numbers(1.5, y + 2, grid(pattern), ONES)
        sheet.text(3.0, y + 5.6, PATTERN_NAMES[index], 13, GREY, ha="center")
        sheet.arrow((4.7, y + 3.5), (7.2, y + 3.5))
    for (row, column), colour in [((1, 1), GREEN), ((1, 5), PURPLE)]:
        sheet.frame(7.4 + column, 24.3 + row, 1, 1, colour, 4)

    best = pooled.max(axis=(1, 2)).astype(int)
    sheet.text(1.5, 49.0, "The best match of each filter:  X {}, {}, {}   O {}, {}, {}.  ".format(
        *best.ravel()) + "Arms alone can be found in an O; the centre is in the X only.", 18,
               weight="bold")
    sheet.text(1.5, 50.5, "Here the filters were chosen by hand. A network finds its own while it "
                          "learns.", 14, GREY)
    return sheet.picture()


def write_steps(output_dir):
    """Compute the steps and draw them as ex01_steps.png."""
    make_folder(output_dir)
    save_png(draw_steps(*compute_steps()), os.path.join(output_dir, "ex01_steps.png"))


def make_folder(path):
    """Make sure that files can be written there, before any time is spent on them."""
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise Refusal(f"nothing can be written to '{path}': {error.strerror or error}.")


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="ex01_filters.py",
        description="Make the horizontal and the vertical patterns of a picture stand out, with "
                    "tf.nn.conv2d. Writes ex01_horizontal.png, ex01_vertical.png and "
                    "ex01_filters.png, the source and both side by side.")
    parser.add_argument("image", metavar="IMAGE", nargs="?",
                        help="any picture that Pillow opens (default: images/source.jpg)")
    parser.add_argument("--output-dir", metavar="DIR", default=IMAGES,
                        help="where to write, replacing what is there (default: images/ beside "
                             "this script)")
    parser.add_argument("--steps", action="store_true",
                        help="instead, draw ex01_steps.png: convolution, ReLU and max-pooling "
                             "explained on an X and an O")
    options = parser.parse_args(arguments)
    if options.steps and options.image is not None:
        parser.error("--steps draws its own X and O; give it no IMAGE")
    return options


def main(arguments=None):
    """Run the command line; every mistake of the user's ends in one sentence and exit code 1."""
    options = parse_arguments(arguments)
    try:
        if options.steps:
            write_steps(options.output_dir)
        else:
            write_filters(SOURCE if options.image is None else options.image, options.output_dir)
    except Refusal as refusal:
        sys.exit(f"ex01_filters.py: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
