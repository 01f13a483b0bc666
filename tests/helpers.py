"""Helpers of the tests: processes and their limits, small runs, releases, data and pictures."""
import contextlib
import functools
import gzip
import importlib
import io
import multiprocessing
import os
import pathlib
import runpy
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageCms

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

PREDICT = os.path.join(ROOT, "predict")
SAMPLE = os.path.join(ROOT, "images", "avion.jpg")
TRAIN, EVALUATE = "ex03_cifar.train", "ex03_cifar.evaluate"
FULL = bool(os.environ.get("CI_FULL"))  # all test images, and more random moments and damages


# ---- Processes of their own ----

def run_command(*command, **options):
    """Run a command from the repository's root; return the finished process, its output as text.

    Args:
        options: those of subprocess.run; `env` holds changes to the environment, `limits` those of
            `set_limits`.
    """
    if "limits" in options:
        options["preexec_fn"] = functools.partial(set_limits, options.pop("limits"))
    options["env"] = dict(os.environ, **options.pop("env", {}))
    return subprocess.run(command, **dict(dict(
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", timeout=300), **options))


def set_limits(limits):
    """Limit this process; Args: limits: a dict of "AS", "FSIZE", "NOFILE" … to its value."""
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


def start(program, arguments, streams, limits=None, prepare=None):
    """Start `program.main(arguments)`, or ./predict; return the process.

    It is returned once the program itself begins: a signal before that would hit multiprocessing.

    Args:
        program: the name of a module, or "predict".
        streams: a dict of each of the descriptors 0, 1 and 2 to the file that it is led to, None
            for a closed one; or the file of 1 and 2.
        limits: as for `set_limits`.
        prepare: a function of the tests that is called before the program.
    """
    streams = streams if isinstance(streams, dict) else {1: streams, 2: streams}
    begins = CONTEXT.Event()
    process = CONTEXT.Process(target=_main, args=(
        program, [os.fsdecode(word) for word in arguments], streams, limits, prepare, begins))
    process.start()
    begins.wait(60)
    return process


def _main(program, arguments, streams, limits, prepare, begins):
    from support import console
    for number, path in streams.items():
        stream = None
        if path is None:
            os.close(number)
        else:
            written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            os.dup2(os.open(path, written if number else os.O_RDONLY), number)
            stream = open(number, "w" if number else "r", 1 if number == 2 else -1,
                          encoding="utf-8", closefd=False)
        setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
    if prepare:
        prepare()
    if limits:
        set_limits(limits)
    begins.set()
    if program == "predict":
        sys.argv = [PREDICT] + arguments
        runpy.run_path(PREDICT, run_name="__main__")
    console.run(lambda: importlib.import_module(program).main(arguments))


def run(program, arguments, streams=None, timeout=300, number=None, after="", seconds=0, **more):
    """Run a program to its end, as `start` does; return its exit code and what it printed.

    Args:
        streams: where they are led to instead; nothing is returned of them.
        number: a signal to send, so many `seconds` after it has printed the text `after`.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "output")
        output.touch()
        process = start(program, arguments, streams or str(output), **more)
        if number:
            while process.is_alive() and after not in output.read_text(encoding="utf-8"):
                process.join(0.005)
            process.join(seconds)
            if process.is_alive():
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    os.kill(process.pid, number)
        process.join(timeout)
        return process.exitcode, output.read_text(encoding="utf-8")


def predict(*arguments, **options):
    """Run ./predict; return (exit code, stdout, stderr).

    It shares the import of TensorFlow, unless there are options, those of `run_command`: it is
    then a process of its own.
    """
    if options:
        done = run_command(sys.executable, PREDICT, *arguments, **options)
        return done.returncode, done.stdout, done.stderr
    with tempfile.TemporaryDirectory() as folder:
        streams = {number: os.path.join(folder, str(number)) for number in (1, 2)}
        code, _ = run("predict", arguments, streams)
        return (code,) + tuple(pathlib.Path(path).read_bytes().decode("utf-8")
                               for path in streams.values())


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


def small_evaluation(data, weights):
    """Return the command line of an evaluation of 50 images."""
    return ["--checkpoint-dir", weights, "--data-dir", data, "--images", "50"]


def variables(folder):
    """Return every variable of the checkpoint in `folder`, and every array of a run's state."""
    from support import checkpoint
    from support.tf1 import tf

    def read(prefix):
        reader = tf.train.NewCheckpointReader(prefix)
        values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        if os.path.exists(prefix + ".npz"):
            with np.load(prefix + ".npz") as arrays:
                values.update(arrays)
        return values
    return checkpoint.load(folder, read)


def keep_states():
    """Let a run keep its last states when it has finished; to be called in its process."""
    from support.run_state import RunState
    RunState.clear = lambda self: None


def states(folder):
    """Return the names of a run's states, the oldest first."""
    return sorted(name for name in os.listdir(os.path.join(folder, "state")) if "step-" in name)


def state(folder, step):
    """Return the path of a run's state after a step."""
    return os.path.join(folder, "state", "step-%08d" % step)


def assert_same_bits(first, second):
    """Two dicts of arrays are equal, bit for bit."""
    assert set(first) == set(second)
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


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
        stream.truncate(10000 * 3073)


def write_idx(path, array):
    """Write an array of uint8 as one of Fashion-MNIST's files."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    with gzip.open(str(path), "wb") as file:
        file.write(header + array.tobytes())


# ---- Pictures: one photograph in many encodings, and damaged files ----

def photograph(name="avion"):
    """Return a sample picture as RGB, without the JPEG file's own traits."""
    with Image.open(os.path.join(ROOT, "images", name + ".jpg")) as picture:
        return Image.fromarray(np.asarray(picture.convert("RGB"))[:-1])  # odd sides, odd strides


def saved(picture, kind, **options):
    """Return the bytes of a picture file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def encodings(picture):
    """Return {file name: bytes} of one RGB picture in every way that people's files have it."""
    gray, cmyk = picture.convert("L"), picture.convert("CMYK")
    deep = np.asarray(gray).astype(np.uint16) * 257
    opaque, other = picture.copy(), Image.new("RGB", picture.size, "green")
    opaque.putalpha(255)
    swapped = Image.merge("RGB", picture.split()[::-1])
    turned, exif = picture.transpose(Image.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # orientation
    lab = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"),
                                    ImageCms.createProfile("LAB"), outputMode="LAB")
    files = {
        "baseline.jpg": saved(picture, "JPEG", quality=92),
        "progressive.jpg": saved(picture, "JPEG", quality=90, progressive=True),
        "gray.jpg": saved(gray, "JPEG", quality=92),
        "cmyk.jpg": saved(cmyk, "JPEG", quality=92),
        "profile.jpg": saved(swapped, "JPEG", quality=95, icc_profile=swapping_profile()),
        "damaged-profile.jpg": saved(picture, "JPEG", quality=92, icc_profile=b"no profile" * 20),
        "orientation-6.jpg": saved(turned, "JPEG", quality=92, exif=exif),
        "rgb.png": saved(picture, "PNG"),
        "rgba.png": saved(opaque, "PNG"),
        "palette.png": saved(picture.quantize(256), "PNG"),
        "transparent-palette.png": saved(picture.quantize(255), "PNG", transparency=255),
        "gray.png": saved(gray, "PNG"),
        "gray-alpha.png": saved(opaque.convert("LA"), "PNG"),
        "one-bit.png": saved(picture.convert("1"), "PNG"),
        "gray-16.png": saved(Image.fromarray(deep), "PNG"),
        "orientation-6.png": saved(turned, "PNG", exif=exif),
        "misnamed.png": saved(picture, "JPEG", quality=90),
        "animated.png": saved(picture, "PNG", save_all=True, append_images=[other]),
        "animated.gif": saved(picture.quantize(256), "GIF", save_all=True, append_images=[other]),
        "rgb.bmp": saved(picture, "BMP"),
        "rgb.tif": saved(picture, "TIFF"),
        "lzw.tif": saved(picture, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg", quality=92),
        "cmyk.tif": saved(cmyk, "TIFF"),
        "gray-16.tif": saved(Image.fromarray(deep), "TIFF"),
        "float.tif": saved(Image.fromarray(np.asarray(gray) / np.float32(255)), "TIFF"),
        "lab.tif": saved(lab, "TIFF"),
        "one-bit.tif": saved(picture.convert("1"), "TIFF", compression="group4"),
        "rgb.ppm": saved(picture, "PPM"),
        "one-bit.pbm": saved(picture.convert("1"), "PPM"),
        "gray-16.pgm": b"P5 %d %d 65535\n" % picture.size + deep.astype(">u2").tobytes(),
        "lossy.webp": saved(picture, "WEBP", quality=90),
        "animated.webp": saved(picture, "WEBP", save_all=True, append_images=[other])}
    if "AVIF" in Image.SAVE:  # Pillow 11.3 and later
        files["lossy.avif"] = saved(picture, "AVIF", quality=85)
    return files


def swapping_profile():
    """Return an ICC profile in which red and blue have changed places."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")


def mutations(files, count, rng):
    """Yield `count` damaged files (name, bytes): cut, with flipped bits, with another's header."""
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        content, kind = bytearray(files[name]), rng.randint(4)
        if kind == 0:
            del content[rng.randint(len(content)):]
        elif kind < 3:  # anywhere; where sizes, counts and offsets are
            for place in rng.randint(0, len(content) if kind == 1 else 100, rng.randint(1, 12)):
                content[place] ^= 1 << rng.randint(8)
        else:
            length = rng.randint(4, 64)
            content[:length] = files[rng.choice(names)][:length]
        yield "%04d-%s" % (number, name), bytes(content)


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
