"""Picture files -> Pillow images in RGB: whatever people have, as they see it, or a reason why not.

Pillow alone is imported, no NumPy, so that a file that is no picture is refused at once.
"""
import contextlib
import errno
import functools
import importlib
import io
import os
import stat
import sys
import threading

# Read when Pillow is imported. Blocks of this size malloc gives back to the system once they are
# free; of Pillow's usual 16 MB it keeps many for later.
os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")

from PIL import Image  # noqa: E402

from support.console import UserError  # noqa: E402

# Their decoders are part of Pillow. Of its other formats some start a program (EPS: Ghostscript).
FORMATS = "JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "PPM"
PLUGINS = "Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif", "Ppm"
STANDARD_INPUT = "-"

FILE_BYTES = 256 << 20
PIXELS = 64 << 20            # of a picture that is decoded at full size
HELD_PIXELS = 32 << 20       # of WebP and AVIF, whose decoders take four times the memory
JPEG_PIXELS = 170 << 20      # a JPEG is reduced while it is decoded
SIDE = 1 << 24               # pixels; Pillow takes a step, and 8 bytes, for each row
SLOW_PIXELS = 4 << 20        # of what Pillow decodes in Python
SLOW_DECODERS = "ppm", "ppm_plain", "bmp_rle"
LARGE_PIXELS = 4 << 20       # only one picture above this is decoded at a time
LARGE_FILE = 32 << 20        # bytes; only one file above this is opened at a time
BAND_PIXELS = 1 << 20        # of a picture are converted at a time
SCANNED_PIXELS = 1 << 30     # of a progressive JPEG, whose every scan passes over all of them
LONGEST = 4096               # pixels, the longer side of a reduced picture, whatever its shape

# Orientation, EXIF tag 0x0112: how the stored picture has to be turned to stand upright.
ORIENTATION = 0x0112
UPRIGHT = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM,
           5: Image.TRANSPOSE, 6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}

# What is wrong, in a sentence whose subject is the file; programs that speak another language
# have their own words for these keys.
PROBLEMS = {
    "absent": "does not exist",
    "long name": "does not exist: the name is too long",
    "permission": "cannot be read: the permission is missing",
    "links": "cannot be read: its symbolic links go round in circles",
    "system": "cannot be read (%s)",
    "folder": "is a folder, not a picture",
    "special": "is no ordinary file",
    "empty": "is empty",
    "heavy": "is too big (%d MB)",
    "closed": "cannot be read: it is closed",
    "unknown": "is not a picture in a known format (%s)",
    "damaged": "is a damaged or truncated picture",
    "large": "is too large a picture (%d x %d pixels)",
    "memory": "is too large a picture",
}
SYSTEM_PROBLEMS = {
    errno.ENOENT: "absent", errno.ENOTDIR: "absent", errno.EACCES: "permission",
    errno.EPERM: "permission", errno.ENAMETOOLONG: "long name", errno.ELOOP: "links"}

_one_large_picture, _one_reader = threading.RLock(), threading.Lock()


class PictureError(UserError):
    """A file that cannot be read as a picture.

    `problem` is a key of PROBLEMS, `details` what its sentence wants: for who words it anew.
    """

    def __init__(self, problem, *details):
        super(PictureError, self).__init__(problem, *details)
        self.problem, self.details, self.path = problem, details, ""

    def __str__(self):
        name = "standard input" if self.path == STANDARD_INPUT else self.path
        return "%s %s." % (name, PROBLEMS[self.problem] % self.details)


def read_picture(path, short_side=None, identified=None):
    """Return the picture in a file as a person sees it, a Pillow image in RGB.

    Upright, on white where it is transparent, in sRGB, the first frame of an animation.

    Args:
        path: the file, or "-" for standard input.
        short_side: pixels; the picture may be reduced by whole factors as long as its shorter
            side keeps that many. One that is all length is reduced along it to LONGEST as well.
            By default all pixels are kept.
        identified: called once the file turns out to be a picture, before that is decoded.
    Raises:
        PictureError: it is no picture, or one that cannot be read.
    """
    try:
        with _open_file(path) as stream, picture_errors():
            return _as_seen(stream, short_side, identified)
    except PictureError as error:
        problem = PictureError(error.problem, *error.details)
    problem.path = path
    raise problem  # a new one, for the first one's frames hold the picture's memory


@contextlib.contextmanager
def picture_errors():
    """Turn whatever working on a picture raises into a `PictureError`."""
    try:
        yield
    except PictureError:
        raise
    except Image.UnidentifiedImageError:
        raise PictureError("unknown", ", ".join(FORMATS))
    except (MemoryError, Image.DecompressionBombError):
        raise PictureError("memory")
    except Exception as error:  # what Pillow's decoders raise on damaged files is listed nowhere
        if getattr(error, "errno", None):
            raise _system_problem(error)
        raise PictureError("damaged")


def _system_problem(error):
    if error.errno in SYSTEM_PROBLEMS:
        return PictureError(SYSTEM_PROBLEMS[error.errno])
    return PictureError("system", errno.errorcode.get(error.errno, error.errno))


def _open_file(path):
    """Open a regular file (or standard input, read to its end), and never wait for a writer."""
    try:
        if path == STANDARD_INPUT:
            return io.BytesIO(_standard_input())
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            raise PictureError("folder" if stat.S_ISDIR(kind) else "special")
        # Should a FIFO have taken the file's place since, this open does not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _system_problem(error)
    stream = os.fdopen(descriptor, "rb")
    size = os.fstat(descriptor).st_size
    if not 0 < size <= FILE_BYTES:
        stream.close()
        raise PictureError("heavy", size >> 20) if size else PictureError("empty")
    return stream


def _size(stream):
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size


def _standard_input():
    """Return the bytes of standard input, which can be read only once, by whichever thread."""
    with _one_reader:
        return _read_standard_input()


@functools.lru_cache(maxsize=None)
def _read_standard_input():
    if sys.stdin is None:
        raise PictureError("closed")
    content = sys.stdin.buffer.read(FILE_BYTES + 1)
    if not content:
        raise PictureError("empty")
    if len(content) > FILE_BYTES:
        raise PictureError("heavy", len(content) >> 20)
    return content


@functools.lru_cache(maxsize=None)
def _formats():
    """Return the names of the formats that this Pillow knows, their plugins imported.

    `Image.open` would import the plugins of all formats for a file that none of these fits.
    """
    for plugin in PLUGINS:
        with contextlib.suppress(ImportError):  # AVIF came with Pillow 11.3
            importlib.import_module("PIL.%sImagePlugin" % plugin)
    return [name.upper() for name in FORMATS if name.upper() in Image.OPEN]


def _as_seen(stream, short_side, identified):
    with contextlib.ExitStack() as one_at_a_time:
        if _size(stream) > LARGE_FILE:
            one_at_a_time.enter_context(_one_large_picture)
        picture = Image.open(stream, formats=_formats())
        if identified:
            identified()
        reduces = short_side and _reduces(picture)
        _check_size(picture, short_side and not reduces)
        _check_scans(picture)
        # A progressive JPEG's coefficients are held whole, whatever it is reduced to.
        if (not reduces or "progressive" in picture.info) and (
                picture.width * picture.height > LARGE_PIXELS):
            one_at_a_time.enter_context(_one_large_picture)
        if reduces:
            factor = _factor(picture.size, short_side)
            picture.draft(None, (picture.width // factor, picture.height // factor))
        picture.load()
        reduced, orientation = _reduce(picture, short_side), _orientation(picture)
        profile = picture.info.get("icc_profile")
        del picture  # gives its memory back, and its decoder's, before the next one's turn
    reduced = _on_white(_in_srgb(reduced, profile))
    return reduced.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else reduced


def _check_size(picture, whole):
    """Refuse what would take too much memory or time, before a pixel is decoded.

    Args:
        whole: whether it is decoded at full size only to be reduced.
    """
    width, height = picture.size
    most = PIXELS if whole else JPEG_PIXELS
    if any(tile[0] in SLOW_DECODERS for tile in picture.tile):
        most = SLOW_PIXELS
    elif picture.format in ("WEBP", "AVIF"):
        most = HELD_PIXELS
    tags = getattr(picture, "tag_v2", {})
    tile_pixels = tags.get(322, 0) * tags.get(323, 0)  # TileWidth, TileLength
    if max(width * height, tile_pixels) > most or max(width, height) > SIDE:
        raise PictureError("large", width, height)


def _check_scans(picture):
    """Refuse a progressive JPEG of so many scans that decoding it would take minutes."""
    pixels = picture.width * picture.height
    if picture.format not in ("JPEG", "MPO") or pixels < LARGE_PIXELS or _reduces(picture):
        return
    place, scans = picture.fp.tell(), 0
    picture.fp.seek(0)
    for part in iter(lambda: picture.fp.read(1 << 20), b""):
        scans += part.count(b"\xff\xda")
    picture.fp.seek(place)
    if scans * pixels > SCANNED_PIXELS:
        raise PictureError("large", picture.width, picture.height)


def _reduces(picture):
    """Whether the picture's decoder reduces it on the way: a progressive JPEG's keeps it whole."""
    return picture.format in ("JPEG", "MPO") and "progressive" not in picture.info


def _factor(size, short_side):
    """Return the greatest whole factor that leaves the shorter side `short_side` pixels."""
    return max(1, min(size) // short_side)


def _reduce(picture, short_side):
    """Return the picture with 8 bits a channel, its mode L, LA, RGB, RGBA, CMYK or LAB, reduced.

    Converted and reduced by bands: what is large is not held twice.
    """
    if short_side:
        factor = _factor(picture.size, short_side)
        factors = [max(factor, -(-side // LONGEST)) for side in picture.size]
        rows = factors[1] * max(1, BAND_PIXELS // (picture.width * factors[1]))
        bands = [_converted(picture.crop((0, top, picture.width, min(top + rows, picture.height))))
                 .reduce(factors) for top in range(0, picture.height, rows)]
        picture = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
        top = 0
        for band in bands:
            picture.paste(band, (0, top))
            top += band.height
    else:
        picture = _converted(picture)
    return _eight_bits(picture) if picture.mode in ("I", "F") else picture


def _converted(picture):
    """Return the picture in a mode that can be averaged, I and F among them."""
    if picture.mode.startswith("I;16"):
        return picture.convert("I")
    if picture.mode in ("PA", "RGBa", "La") or (
            "transparency" in picture.info and picture.mode not in ("I", "F")):
        return picture.convert("RGBA")
    if picture.mode in ("1", "P", "RGBX", "YCbCr", "HSV"):
        return picture.convert("L" if picture.mode == "1" else "RGB")
    return picture


def _eight_bits(picture):
    """Scale a grayscale picture of mode I, 16 or 32 bits, or F, without a unit, to 8 bits.

    Of 16 bits the upper eight are kept, as Pillow's decoders do in colour.
    """
    brightest = picture.getextrema()[1]
    whites = (1, 255, 65535) if picture.mode == "F" else (65535,)
    white = next((white for white in whites if brightest <= white), brightest)
    scale, half = (1 / 256, 0) if white == 65535 else (255 / white, 0.5)
    return picture.convert("F").point(lambda value: value * scale + half).convert("L")


def _orientation(picture):
    try:
        return picture.getexif().get(ORIENTATION)
    except Exception:  # as above: a damaged note beside the pixels does not stop the answer
        return None


def _in_srgb(picture, profile):
    """Convert L, RGB, CMYK (LA and RGBA too) to sRGB by their embedded profile, if it is sound."""
    if picture.mode == "LAB":
        from PIL import ImageCms
        return ImageCms.profileToProfile(picture, ImageCms.createProfile("LAB"),
                                         ImageCms.createProfile("sRGB"), outputMode="RGB")
    if not profile:
        return picture
    from PIL import ImageCms
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    opaque = picture.convert(picture.mode[:-1]) if alpha else picture
    transform = _to_srgb(profile, opaque.mode)
    if transform is None:
        return picture
    converted = ImageCms.applyTransform(opaque, transform)
    if alpha:
        converted.putalpha(alpha)
    return converted


@functools.lru_cache(maxsize=8)  # the pictures of one camera share theirs
def _to_srgb(profile, mode):
    """Return the ImageCms transform of a profile, bytes; None if it is damaged or for others."""
    from PIL import ImageCms
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[mode]
        if source.profile.xcolor_space.strip() != space:
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _on_white(picture):
    if picture.mode not in ("LA", "RGBA"):
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
