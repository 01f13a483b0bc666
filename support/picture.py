"""Picture files -> Pillow images in RGB, as a person sees them, or a reason why not.

Only Pillow is imported, not NumPy, so that a file that is not a picture is refused at once.
"""
import contextlib
import errno
import functools
import importlib.util
import io
import logging
import os
import stat
import sys
import threading

# Read when Pillow is imported. malloc returns blocks of this size to the system once they are
# free; of Pillow's default, 16 MB, it keeps many for later.
os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")

from PIL import Image  # noqa: E402

from support.console import UserError  # noqa: E402
from support.environment import quoted  # noqa: E402

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or its errors would go to stderr
Image.MAX_IMAGE_PIXELS = None  # sizes are limited below, by what each format takes

# Their decoders are part of Pillow. Of its other formats some start a program (EPS: Ghostscript).
# For the last three, which it imports only with all others, it takes longer.
FORMATS = ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"] + (
    ["AVIF"] if importlib.util.find_spec("PIL.AvifImagePlugin") else [])  # since Pillow 11.3
HEIF_BRANDS = b"hei", b"hev", b"mif", b"msf"
OUR_ERRORS = MemoryError, TypeError, AttributeError, NameError, ImportError
STANDARD_INPUT = "-"

FILE_BYTES = 256 << 20
PIXELS = 72 << 20            # of a picture that is decoded at full size, only to be reduced
COSTLY_PIXELS = {"WEBP": 32 << 20, "AVIF": 32 << 20, "HEIF": 50 << 20,  # by more memory
                 "progressive": 50 << 20,  # JPEGs: up to eight bytes more for each pixel
                 "slow": 4 << 20}  # decoded in Python
JPEG_PIXELS = 256 << 20      # of a JPEG that is reduced while it is decoded
WHOLE_PIXELS = 170 << 20     # of a picture that is not reduced
SIDE = 1 << 24               # pixels; Pillow takes a step, and 8 bytes, for each row
SLOW_DECODERS = "ppm", "ppm_plain", "bmp_rle"
BAND_PIXELS = 1 << 20        # of a picture are converted at a time
LARGE_PIXELS = 4 << 20       # only one picture above this is decoded at a time
LARGE_FILE = 32 << 20        # bytes; only one file above this is read at a time
LONGEST = 4096               # pixels, the longer side of a reduced picture, whatever its shape

FRAMES, BLACK = 8, 16        # of an animation, and the level below which one is black
RESEMBLING = 40  # levels of 256: pixels this close to a ground are hard to see on it
ORIENTATION = 0x0112  # EXIF's tag: how a stored picture is rotated or flipped to stand upright
UPRIGHT = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM,
           5: Image.TRANSPOSE, 6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}

# What is wrong, in English and in French; the file's name is the sentence's subject.
PROBLEMS = {
    "absent": ("does not exist", "n'existe pas"),
    "permission": ("cannot be read: permission denied",
                   "ne peut pas être lu : permission refusée"),
    "system": ("cannot be read (%s)", "ne peut pas être lu (%s)"),
    "folder": ("is a folder, not a picture", "est un dossier sans image"),
    "special": ("is not a regular file", "n'est pas un fichier ordinaire"),
    "empty": ("is empty", "est vide"),
    "heavy": ("is too big (%d MB, at most %d)", "est trop gros (%d Mo, au plus %d)"),
    "unknown": ("is not a picture in a known format (JPEG, PNG, WebP, HEIC, ...)",
                "n'est pas une image dans un format connu (JPEG, PNG, WebP, HEIC...)"),
    "heic": ("is a HEIC photo (iPhone); to read such files: %s -m pip install pillow-heif",
             "est une photo HEIC (iPhone) ; pour la lire : %s -m pip install pillow-heif"),
    "damaged": ("is a damaged or truncated picture", "est un fichier corrompu ou tronqué"),
    "large": ("is too large a picture (%d x %d pixels, at most %d million)",
              "est une image trop grande (%d x %d pixels, au plus %d millions)"),
    "memory": ("is too large for the memory", "est une image trop grande pour la mémoire"),
    "plain": ("shows one colour only", "est une image d'une seule couleur : rien à reconnaître"),
}
SYSTEM_PROBLEMS = {errno.ENOENT: "absent", errno.ENOTDIR: "absent",
                   errno.EACCES: "permission", errno.EPERM: "permission"}

_one_large_picture = threading.RLock()


class PictureError(UserError):
    """A file that cannot be read as a picture.

    `problem` is a key of PROBLEMS, `details` what its sentence is filled with.
    """

    def __init__(self, problem, *details, path=""):
        super(PictureError, self).__init__(problem, *details)
        self.problem, self.details, self.path = problem, details, path

    def __str__(self):
        name = "standard input" if self.path == STANDARD_INPUT else self.path
        return "%s %s." % (name, PROBLEMS[self.problem][0] % self.details)

    def french(self):
        """Return what is wrong in French, without the file's name."""
        return PROBLEMS[self.problem][1] % self.details


def read_picture(path, short_side=None):
    """Return the picture in a file as a person sees it, a Pillow image in RGB.

    Upright, on white or grey where it is transparent, in sRGB; of an animation the first
    frame that is not black.

    Args:
        path: the file, or "-" for standard input.
        short_side: pixels; the picture may be reduced by whole factors as long as its shorter
            side keeps that many. A very long one is reduced along its length to LONGEST as well.
            By default all pixels are kept.
    Raises:
        PictureError: it is not a picture, or one that cannot be read.
    """
    return read_sizes(path, (short_side,))[0]


def read_sizes(path, short_sides):
    """Return what `read_picture` returns for each of `short_sides`, all from the same bytes."""
    try:
        with contextlib.ExitStack() as turn:
            stream = _open_file(path, turn)
            return [_as_seen(stream, short_side, turn) for short_side in short_sides]
    except PictureError as error:
        error.path = path
        raise
    except MemoryError:
        raise PictureError("memory", path=path)
    except OSError as error:
        if error.errno in SYSTEM_PROBLEMS:
            raise PictureError(SYSTEM_PROBLEMS[error.errno], path=path)
        raise PictureError("system", errno.errorcode.get(error.errno, error), path=path)


def _open_file(path, turn):
    """Open a regular file or, once it has been read to its end, standard input."""
    if path == STANDARD_INPUT:
        stream = io.BytesIO(sys.stdin.buffer.read(FILE_BYTES + 1))
        size = len(stream.getvalue())
    else:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.listdir(path)  # of one that cannot be read the system says why
        if not stat.S_ISREG(status.st_mode):  # a FIFO would be waited for
            raise PictureError("folder" if stat.S_ISDIR(status.st_mode) else "special")
        stream, size = turn.enter_context(open(path, "rb")), status.st_size
    if not size:
        raise PictureError("empty")
    if size > FILE_BYTES:
        raise PictureError("heavy", size >> 20, FILE_BYTES >> 20)
    if size > LARGE_FILE:
        turn.enter_context(_one_large_picture)
    # Pillow 9 closes the descriptor of a TIFF twice: that of another thread's file, perhaps.
    return io.BytesIO(stream.read()) if size <= LARGE_FILE else stream


def _formats_of(head):
    """Return the formats to try; HEIC has its own package, AVIF, of the same family, has not."""
    brands = head[8:int.from_bytes(head[:4], "big")]
    if head[4:8] != b"ftyp" or brands[:3] not in HEIF_BRANDS or b"avif" in brands:
        return FORMATS
    try:
        import pillow_heif
    except ImportError:
        raise PictureError("heic", quoted(sys.executable))
    pillow_heif.register_heif_opener()
    return ["HEIF"]


@contextlib.contextmanager
def _decoding(unidentified="unknown"):
    """Turn what a decoder raises about the data, documented nowhere, into a `PictureError`.

    What says that a program is wrong and not its data stays what it is, and so do the system's
    errors: the file may be read another time.
    """
    try:
        yield
    except Image.UnidentifiedImageError:
        raise PictureError(unidentified)
    except Exception as error:
        if getattr(error, "errno", None) or isinstance(error, OUR_ERRORS):
            raise
        raise PictureError("damaged")


def _as_seen(stream, short_side, turn):
    stream.seek(0)
    formats = _formats_of(stream.read(64))
    with _decoding(unidentified="damaged" if "HEIF" in formats else "unknown"):
        picture = Image.open(stream, formats=formats)
    kind, pixels = _kind(picture), picture.width * picture.height
    shrinks = bool(short_side) and kind in ("JPEG", "MPO")
    most = min(JPEG_PIXELS if shrinks else PIXELS if short_side else WHOLE_PIXELS,
               COSTLY_PIXELS.get(kind, JPEG_PIXELS), SIDE * min(picture.size))
    if pixels > most:
        raise PictureError("large", picture.width, picture.height, most // 10 ** 6)
    if not shrinks and pixels > LARGE_PIXELS:
        turn.enter_context(_one_large_picture)
    with _decoding():
        if shrinks:
            factor = _factor(picture, short_side)
            picture.draft(None, (picture.width // factor, picture.height // factor))
        picture.load()
        _skip_black_frames(picture)
        if picture.format == "BMP" and picture.mode == "RGBA" and not picture.getextrema()[3][1]:
            picture.putalpha(255)  # who wrote it left the fourth byte unused
    seen = _reduced(picture, short_side) if short_side else _converted(picture)
    seen = _in_srgb(_on_ground(_eight_bits(seen)), picture.info.get("icc_profile"))
    rotation = None
    with contextlib.suppress(Exception):  # the note may be damaged in any way
        rotation = UPRIGHT.get(picture.getexif().get(ORIENTATION))
    return seen if rotation is None else seen.transpose(rotation)


def _skip_black_frames(picture):
    """Show the first frame of an animation that is not black; at most FRAMES are looked at."""
    with contextlib.suppress(EOFError):
        for _ in range(FRAMES if getattr(picture, "is_animated", False) else 0):
            if max(high for _, high in picture.convert("RGB").getextrema()) >= BLACK:
                break
            picture.seek(picture.tell() + 1)
            picture.load()


def _kind(picture):
    """Return the format of a picture that is not decoded yet, or a key of COSTLY_PIXELS."""
    if any(part[0] in SLOW_DECODERS for part in picture.tile):
        return "slow"
    jpeg = picture.format in ("JPEG", "MPO")
    return "progressive" if jpeg and "progressive" in picture.info else picture.format


def _factor(picture, short_side):
    """Return the greatest whole factor that leaves the shorter side `short_side` pixels."""
    return max(1, min(picture.size) // short_side)


def _reduced(picture, short_side):
    """Return the picture converted and reduced, by bands: a large one is not held twice."""
    factors = [max(_factor(picture, short_side), -(-side // LONGEST)) for side in picture.size]
    rows = factors[1] * max(1, BAND_PIXELS // (picture.width * factors[1]))
    bands = [_converted(picture.crop((0, top, picture.width, min(top + rows, picture.height))))
             .reduce(factors) for top in range(0, picture.height, rows)]
    whole = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    for number, band in enumerate(bands):
        whole.paste(band, (0, number * bands[0].height))
    return whole


def _converted(picture):
    """Return the picture in a mode that can be averaged: L, LA, RGB, RGBA, CMYK, LAB, I or F."""
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

    Of 16 bits the upper eight are kept, as Pillow's decoders do in colour. Where less than a
    quarter of the range is used (10 or 12 bits in 16, a thermal camera), or negative numbers are,
    what is used is stretched from black to white.
    """
    if picture.mode not in ("I", "F"):
        return picture
    darkest, brightest = picture.getextrema()
    whites = (1, 255, 65535) if picture.mode == "F" else (65535,)
    white = next((white for white in whites if brightest <= white), brightest)
    scale, offset = (1 / 256, 0) if white == 65535 else (255 / white, 0.5)
    if darkest < 0 or brightest - darkest < white / 4:
        scale = 255 / (brightest - darkest or 1)
        offset = 0.5 - darkest * scale
    return picture.convert("F").point(lambda value: value * scale + offset).convert("L")


def _on_ground(picture):
    """Lay what is transparent on white or grey: what fewer of the object's pixels resemble."""
    if picture.mode not in ("LA", "RGBA"):
        return picture
    mode, picture = picture.mode[:-1], picture.convert("RGBA")
    opaque = picture.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    counts = picture.convert("L").histogram(opaque)  # of the opaque pixels, by brightness
    level = min((255, 128), key=lambda level: sum(counts[level - RESEMBLING:level + RESEMBLING]))
    ground = Image.new("RGBA", picture.size, (level,) * 3 + (255,))
    return Image.alpha_composite(ground, picture).convert(mode)


def _in_srgb(picture, profile):
    """Convert L, RGB, CMYK or LAB to RGB, to sRGB by the embedded profile if it is sound."""
    if profile or picture.mode == "LAB":
        from PIL import ImageCms
        transform = _to_srgb(profile, picture.mode)
        if transform:
            return ImageCms.applyTransform(picture, transform)
    return picture.convert("RGB")


@functools.lru_cache(maxsize=8)  # the pictures of one camera share theirs
def _to_srgb(profile, mode):
    """Return the ImageCms transform of a profile, None if it is damaged or for another mode."""
    from PIL import ImageCms
    try:
        source = (ImageCms.createProfile("LAB") if mode == "LAB"
                  else ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
