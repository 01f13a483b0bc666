"""Helpers of the tests: processes and their limits, small runs, untrained releases, data and pictures."""
import contextlib
import functools
import gzip
import importlib
import io
import multiprocessing
import os
import pathlib
import runpy
import signal
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageCms, features

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

PREDICT = os.path.join(ROOT, "predict")
SAMPLE = os.path.join(ROOT, "images", "avion.jpg")
TRAIN, EVALUATE = "ex03_cifar.train", "ex03_cifar.evaluate"
FULL = bool(os.environ.get("CI_FULL"))  # all test images, and more random moments and damages
RECORDS = 10000  # in each file of CIFAR-10's binary version


# ---- Processes of their own ----

def run_command(*command, **options):
    """Run a command from the repository's root; return the finished process, its output as text.

    Args:
        options: those of subprocess.run; `env` holds changes to the environment, `limits` those of
            `set_limits`.
    """
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("timeout", 300)
    return subprocess.run(command, **_prepared(options))


def start_command(*command, **options):
    """Start a command that hears Ctrl-C, from the repository's root; return its subprocess.Popen."""
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen(command, **_prepared(options))


def _prepared(options):
    limits = options.pop("limits", {})

    def prepare():
        hear_interrupts()
        set_limits(limits)
    if os.name == "posix":
        options.setdefault("preexec_fn", prepare)
    options["env"] = dict(os.environ, **options.pop("env", {}))
    return dict({"cwd": ROOT, "stderr": subprocess.PIPE, "encoding": "utf-8"}, **options)


def hear_interrupts():
    """A shell's background job, which these tests may be part of, ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def set_limits(limits):
    """Limit this process; Args: limits: a dict of "AS", "FSIZE", "NOFILE" … to its value."""
    if limits:
        import resource
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))


# ---- Processes that share one import of TensorFlow ----
# A fork server that has imported the package starts each in milliseconds instead of seconds, which
# is what makes it possible to kill one eight times or to show it a hundred damaged files.

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
if FORKS:
    CONTEXT.set_forkserver_preload(["ex03_cifar.train", "ex03_cifar.evaluate", "support.muon",
                                    "matplotlib.backends.backend_agg", "matplotlib.figure", "tqdm"])


def start(program, arguments, output, limits=None, prepare=None):
    """Start `program.main(arguments)`, or ./predict; return the process.

    It is returned once the program itself begins: a signal before that would hit multiprocessing.

    Args:
        program: the name of a module, or "predict".
        output: the file that stdout and stderr are written to; or a dict of each of the
            descriptors 0, 1 and 2 to the file that it is led to, None for a closed one.
        limits: as for `set_limits`.
        prepare: a function of this module that is called before the program.
    """
    streams = output if isinstance(output, dict) else {1: output, 2: output}
    begins = CONTEXT.Event()
    process = CONTEXT.Process(target=_main, args=(program, [os.fsdecode(word) for word in arguments], streams,
                                                  limits or {}, prepare, begins))
    process.start()
    begins.wait(60)
    return process


def run(program, arguments, output, timeout=300, **more):
    """Run a program to its end, as `start` does; return its exit code and what it printed."""
    process = start(program, arguments, output, **more)
    process.join(timeout)
    if isinstance(output, dict):
        return process.exitcode, None
    with open(output, encoding="utf-8") as stream:
        return process.exitcode, stream.read()


def interrupt(program, arguments, output, number=signal.SIGINT, after="", seconds=0):
    """Start a program, send it a signal that long after it printed a text; return as `run` does."""
    process = start(program, arguments, output)
    while process.is_alive() and after not in pathlib.Path(output).read_text(encoding="utf-8"):
        process.join(0.005)
    process.join(seconds)
    if process.is_alive():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process.pid, number)
    process.join(60)
    return process.exitcode, pathlib.Path(output).read_text(encoding="utf-8")


def predict(*arguments, **options):
    """Run ./predict; return (exit code, stdout, stderr).

    It shares the import of TensorFlow, unless there are options, those of `run_command`: it is
    then a process of its own. `encoding=None` returns bytes.
    """
    encoding = options.pop("encoding", "utf-8")
    if options:
        done = run_command(sys.executable, PREDICT, *arguments, encoding=encoding, **options)
        return done.returncode, done.stdout, done.stderr
    return run_streams("predict", arguments, encoding)


def run_streams(program, arguments, encoding="utf-8"):
    """Run a program to its end, as `start` does; return (exit code, stdout, stderr)."""
    with tempfile.TemporaryDirectory() as folder:
        streams = {0: os.devnull, 1: os.path.join(folder, "out"), 2: os.path.join(folder, "err")}
        code, _ = run(program, arguments, streams)
        printed = [pathlib.Path(streams[number]).read_bytes() for number in (1, 2)]
    return (code,) + tuple(text.decode(encoding) if encoding else text for text in printed)


def _main(program, arguments, streams, limits, prepare, begins):
    from support import console
    hear_interrupts()
    opened = {}
    for number, path in streams.items():
        if path is not None:
            if path not in opened:
                opened[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY)
            os.dup2(opened[path], number)
            stream = open(number, "w" if number else "r", 1 if number == 2 else -1, encoding="utf-8", closefd=False)
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
    for number in [number for number in streams if streams[number] is None]:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
    if prepare is not None:
        prepare()
    set_limits(limits)
    begins.set()
    if program == "predict":
        sys.argv = [PREDICT] + arguments
        runpy.run_path(PREDICT, run_name="__main__")
    console.run(lambda: importlib.import_module(program).main(arguments))


# ---- Small runs of exercise 3 ----

def small_run(data, folder, widths=(8, 16, 64), **more):
    """Return the command line of a training of 8 steps, a state saved after each.

    Four are in the first epoch and two in each of the others, which see the harder images. The last
    convolution has channels enough to be computed by `winograd`.
    """
    given = {"data-dir": data, "checkpoint-dir": folder, "images": 500, "validation": 100,
             "batch-size": 100, "epochs": 3, "save-every": 0, "precision": "float32"}
    given.update({name.replace("_", "-"): value for name, value in more.items()})
    command = ["--widths"] + [str(filters) for filters in widths]
    for name, value in given.items():
        command += ["--" + name] if value is True else ["--" + name, str(value)]
    return command


def small_evaluation(data, weights, *more):
    """Return the command line of an evaluation of 50 images."""
    return ["--checkpoint-dir", weights, "--data-dir", data, "--images", "50"] + list(more)


def variables(folder):
    """Return every variable of the checkpoint in `folder`, a dict of name to array."""
    from support import checkpoint
    from support.tf1 import tf

    def read(prefix):
        reader = tf.train.NewCheckpointReader(prefix)
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    return checkpoint.load(folder, read, expected=(".json", ".npz") if "step-" in folder else (".meta",))


def states(folder):
    """Return the names of a run's states, the oldest first."""
    return sorted(name for name in os.listdir(os.path.join(folder, "state")) if "step-" in name)


def state(folder, step):
    """Return the path of a run's state after a step."""
    return os.path.join(folder, "state", "step-%08d" % step)


def remembered(folder):
    """Return what a state remembers of the images, a dict of name to array."""
    name, = [name for name in os.listdir(folder) if name.endswith(".npz")]
    with np.load(os.path.join(folder, name)) as arrays:
        return dict(arrays)


def assert_same_bits(first, second):
    """Two dicts of arrays are equal, bit for bit."""
    assert set(first) == set(second)
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


def block(folder):
    """Let no weights be released there: a run then keeps its states, the last one included."""
    manifest = os.path.join(folder, "SHA256SUMS")
    if os.path.isfile(manifest):
        os.remove(manifest)
    os.makedirs(manifest)


def unblock(folder):
    """Let weights be released there again."""
    os.rmdir(os.path.join(folder, "SHA256SUMS"))


# ---- Untrained releases and small data sets ----

def release(folder, seed=0, widths=(8, 16, 16), convolutions=2):
    """Release an untrained network: it predicts as any other does, but at random."""
    from support import checkpoint
    from ex03_cifar.classifier import GRAPH
    graphs, values = untrained(seed, widths, convolutions)
    checkpoint.save_weights(folder, graphs[GRAPH], values, graphs)


@functools.lru_cache(maxsize=None)
def untrained(seed, widths, convolutions):
    """Return (inference graphs, values of the variables) of a network with random weights."""
    from ex03_cifar.classifier import inference_graphs, temperature_variable
    from ex03_cifar.network import network
    from support import checkpoint
    from support.tf1 import tf
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        kernel = np.random.RandomState(seed).randn(2, 2, 3, 24).astype(np.float32)
        network(tf.placeholder(tf.uint8, [None, 32, 32, 3]), widths, convolutions, training=False,
                first_kernel=kernel)
        temperature_variable()
        session.run(tf.global_variables_initializer())
        values = checkpoint.values_of(session, tf.global_variables())
        return inference_graphs(widths, convolutions), values


def generated_images(count, seed):
    """Return `count` images of ten classes, each a colour and a height of a square, in noise."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, 10, count)
    images = rng.randint(0, 120, (count, 32, 32, 3))
    for image, label in zip(images, labels):
        row, column = 4 + 5 * (label // 3), rng.randint(4, 18)
        image[row:row + 5, column:column + 7, label % 3] += 120
    return images.astype(np.uint8), labels.astype(np.int32)


def write_batch(path, images, labels):
    """Write a file of 10,000 records: these first, black images of class 0 after them."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tofile(path)
    with open(path, "ab") as stream:
        stream.truncate(RECORDS * 3073)


def write_idx(path, array):
    """Write an array of uint8 as one of Fashion-MNIST's files."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    with gzip.open(str(path), "wb") as file:
        file.write(header + array.tobytes())


# ---- Pictures: one photograph in many encodings, and damaged files ----

TURNED = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM,
          5: Image.TRANSPOSE, 6: Image.ROTATE_90, 7: Image.TRANSVERSE, 8: Image.ROTATE_270}


def photograph(name="avion"):
    """Return a sample picture as RGB, without the JPEG file's own traits."""
    with Image.open(os.path.join(ROOT, "images", name + ".jpg")) as picture:
        return Image.fromarray(np.asarray(picture.convert("RGB"))[:-1])  # odd sides, odd strides


def encodings(picture):
    """Return {file name: bytes} of one RGB picture in every way that people's files have it."""
    gray, cmyk = picture.convert("L"), _cmyk(picture)
    deep = np.asarray(gray).astype(np.uint16) * 257
    opaque, other = picture.copy(), Image.new("RGB", picture.size, "green")
    opaque.putalpha(255)
    half = Image.fromarray(np.dstack([np.asarray(gray), np.full(gray.size[::-1], 255, np.uint8)]))
    files = {
        "baseline.jpg": saved(picture, "JPEG", quality=92),
        "progressive.jpg": saved(picture, "JPEG", quality=90, progressive=True),
        "444.jpg": saved(picture, "JPEG", quality=90, subsampling=0),
        "gray.jpg": saved(gray, "JPEG", quality=92),
        "cmyk.jpg": saved(cmyk, "JPEG", quality=92),
        "ycck.jpg": _ycck(picture),
        "profile.jpg": saved(_swapped(picture), "JPEG", quality=95, icc_profile=swapping_profile()),
        "damaged-profile.jpg": saved(picture, "JPEG", quality=92, icc_profile=b"no profile" * 20),
        "rgb.png": saved(picture, "PNG"),
        "rgba.png": saved(opaque, "PNG"),
        "transparent.png": saved(_on_black(picture), "PNG"),
        "palette.png": saved(picture.quantize(256), "PNG"),
        "transparent-palette.png": saved(picture.quantize(255), "PNG", transparency=255),
        "gray.png": saved(gray, "PNG"),
        "gray-alpha.png": saved(half, "PNG"),
        "one-bit.png": saved(picture.convert("1"), "PNG"),
        "gray-16.png": _png16(deep[..., None], 0),
        "rgb-16.png": _png16(np.asarray(picture).astype(np.uint16) * 257, 2),
        "rgba-16.png": _png16(np.asarray(opaque).astype(np.uint16) * 257, 6),
        "profile.png": saved(_swapped(picture), "PNG", icc_profile=swapping_profile()),
        "misnamed.png": saved(picture, "JPEG", quality=90),
        "animated.png": saved(picture, "PNG", save_all=True, append_images=[other]),
        "palette.gif": saved(picture.quantize(256), "GIF"),
        "animated.gif": saved(picture.quantize(256), "GIF", save_all=True, append_images=[other]),
        "rgb.bmp": saved(picture, "BMP"),
        "palette.bmp": saved(picture.quantize(256), "BMP"),
        "rgb.tif": saved(picture, "TIFF"),
        "lzw.tif": saved(picture, "TIFF", compression="tiff_lzw"),
        "deflate.tif": saved(picture, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg", quality=92),
        "cmyk.tif": saved(cmyk, "TIFF"),
        "gray-16.tif": saved(Image.fromarray(deep), "TIFF"),
        "float.tif": saved(Image.fromarray(np.asarray(gray) / np.float32(255)), "TIFF"),
        "lab.tif": saved(ImageCms.profileToProfile(
            picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
            outputMode="LAB"), "TIFF"),
        "one-bit.tif": saved(picture.convert("1"), "TIFF", compression="group4"),
        "rgb.ppm": saved(picture, "PPM"),
        "gray.pgm": saved(gray, "PPM"),
        "one-bit.pbm": saved(picture.convert("1"), "PPM"),
        "gray-16.pgm": b"P5 %d %d 65535\n" % picture.size + deep.astype(">u2").tobytes(),
    }
    if features.check("webp"):
        files.update({
            "lossy.webp": saved(picture, "WEBP", quality=90),
            "lossless.webp": saved(picture, "WEBP", lossless=True),
            "animated.webp": saved(picture, "WEBP", save_all=True, append_images=[other])})
    if "AVIF" in Image.SAVE or (Image.init() and "AVIF" in Image.SAVE):
        files["lossy.avif"] = saved(picture, "AVIF", quality=85)
    for orientation, turn in TURNED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = picture.transpose(turn)
        files["orientation-%d.jpg" % orientation] = saved(turned, "JPEG", quality=92,
                                                           exif=exif.tobytes())
    files["orientation-6.png"] = saved(picture.transpose(TURNED[6]), "PNG", exif=_exif(6))
    return files


def formats():
    """Return {name: bytes} of a small picture, one or two files for each format that is read."""
    picture = photograph().resize((96, 71))
    files = encodings(picture)
    chosen = ("baseline.jpg", "progressive.jpg", "cmyk.jpg", "profile.jpg", "rgb.png",
              "transparent-palette.png", "gray-16.png", "animated.png", "palette.gif",
              "animated.gif", "rgb.bmp", "palette.bmp", "rgb.tif", "lzw.tif", "deflate.tif",
              "jpeg.tif", "one-bit.tif", "float.tif", "rgb.ppm", "one-bit.pbm", "lossy.webp",
              "lossless.webp", "animated.webp", "lossy.avif", "orientation-6.jpg")
    return {name: files[name] for name in chosen if name in files}


def mutations(files, count, rng):
    """Yield `count` damaged files (name, bytes): cut, with flipped bits, with another's header."""
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        content = bytearray(files[name])
        kind = rng.randint(4)
        if kind == 0:
            content = content[:rng.randint(len(content))]
        elif kind == 1:  # anywhere
            for place in rng.randint(0, len(content), rng.randint(1, 12)):
                content[place] ^= 1 << rng.randint(8)
        elif kind == 2:  # where sizes, counts and offsets are
            for place in rng.randint(0, min(200, len(content)), rng.randint(1, 5)):
                content[place] = rng.choice([0, 1, 127, 128, 255, rng.randint(256)])
        else:
            length = rng.randint(4, 64)
            content[:length] = files[names[rng.randint(len(names))]][:length]
        yield "%04d-%s" % (number, name), bytes(content)


def swapping_profile():
    """Return an ICC profile in which red and blue have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red:red + 4], profile[blue:blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def _swapped(picture):
    return Image.merge("RGB", picture.split()[::-1])


def saved(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _cmyk(picture):
    """The colours of a picture in CMYK, black drawn out as printers do."""
    inks = 255 - np.asarray(picture).astype(np.float32)
    black = inks.min(axis=2, keepdims=True)
    inks = (inks - black) / np.maximum(1, 255 - black) * 255
    return Image.fromarray(np.dstack([inks, black]).round().astype(np.uint8), "CMYK")


def _ycck(picture):
    """A JPEG as Adobe writes it: the inverted CMY as YCbCr. Pillow cannot, so its mark is set."""
    inverted = Image.fromarray(255 - np.asarray(picture)).convert("YCbCr")
    planes = np.dstack([255 - np.asarray(inverted), np.zeros(inverted.size[::-1], np.uint8)])
    content = bytearray(saved(Image.fromarray(planes, "CMYK"), "JPEG", quality=95))
    content[content.index(b"Adobe") + 11] = 2
    return bytes(content)


def _on_black(picture):
    """A picture whose bright half shines through: on white it looks like the picture itself."""
    pixels = np.asarray(picture).astype(np.float32)
    alpha = np.maximum(255 - pixels.min(axis=2, keepdims=True), 1)
    colours = 255 - (255 - pixels) * 255 / alpha
    return Image.fromarray(np.dstack([colours, alpha]).round().clip(0, 255).astype(np.uint8), "RGBA")


def _png16(pixels, colour_type):
    """A PNG of uint16 [H,W,C], which Pillow does not write."""
    height, width = pixels.shape[:2]
    return png(width, height, colour_type, 16,
               rows=[b"\0" + row.astype(">u2").tobytes() for row in pixels])


def png(width, height, colour_type, bits=8, chunks=(), rows=None):
    """Return a PNG, bytes, with a dark left and a bright right half.

    Args:
        rows: the bytes of its rows instead, which may be too few.
    """
    def chunk(name, content):
        return (struct.pack(">I", len(content)) + name + content
                + struct.pack(">I", zlib.crc32(name + content)))
    if rows is None:
        length = (width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type] * bits + 7) // 8
        row = b"\0" + b"\1" * (length // 2) + b"\x90" * (length - length // 2)
        count = max(1, (1 << 20) // len(row))
        rows = [row * count] * (height // count) + [row * (height % count)]
    packer = zlib.compressobj(1)
    data = b"".join([packer.compress(part) for part in rows] + [packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (
        (b"IHDR", header),) + tuple(chunks) + ((b"IDAT", data), (b"IEND", b"")))
