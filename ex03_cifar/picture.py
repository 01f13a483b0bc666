"""Picture files -> Pillow images in RGB: whatever people have, as they see it, or a reason why not.

The reasons are in French, as the face of `predict` is. Pillow alone is imported, no NumPy, so
that a file that is no picture is refused at once.
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

from PIL import Image

# Their decoders are part of Pillow. Of its other formats some start a program (EPS: Ghostscript).
FORMATS = "JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "PPM"
PLUGINS = "Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif", "Ppm"
STANDARD_INPUT = "-"

SHORT_SIDE = 96  # pixels, at least this much of a bigger picture's shorter side is kept
FILE_BYTES = 256 << 20
PIXELS = 64 << 20            # of a picture that is decoded at full size
WEBP_PIXELS = 32 << 20       # its decoder takes four times the memory
JPEG_PIXELS = 170 << 20      # a JPEG is reduced while it is decoded
SLOW_PIXELS = 4 << 20        # of the anymaps that Pillow decodes in Python
LARGE_PIXELS = 4 << 20       # only one picture above this is decoded at a time

# Orientation, EXIF tag 0x0112: how the stored picture has to be turned to stand upright.
ORIENTATION = 0x0112
UPRIGHT = {2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM,
           5: Image.TRANSPOSE, 6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}

SYSTEM_REASONS = {
    errno.ENOENT: "n'existe pas", errno.ENOTDIR: "n'existe pas",
    errno.EACCES: "ne peut pas être lu : la permission manque",
    errno.EPERM: "ne peut pas être lu : la permission manque",
    errno.ENAMETOOLONG: "n'existe pas : le nom est trop long",
    errno.ELOOP: "ne peut pas être lu : ses liens symboliques tournent en rond"}
UNKNOWN = "n'est pas une image dans un format connu (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, PPM)"
DAMAGED = "est une image abîmée ou tronquée"
TOO_LARGE = "est une image trop grande (%d x %d pixels)"

_one_large_picture, _no_lock = threading.Lock(), contextlib.suppress()


class PictureError(Exception):
    """A file that cannot be read as a picture; the message goes on where its name ends."""


def read_picture(path, short_side=SHORT_SIDE):
    """Return the picture in a file as a person sees it, a Pillow image in RGB.

    Upright, on white where it is transparent, in sRGB, the first frame of an animation, and
    reduced by whole factors as long as its shorter side keeps `short_side` pixels.

    Args:
        path: the file, or "-" for standard input.
    Raises:
        PictureError: it is no picture, or one that cannot be read.
    """
    with _open_file(path) as stream:
        try:
            with Image.open(stream, formats=_formats()) as picture:
                return _as_seen(picture, short_side)
        except PictureError:
            raise
        except Image.UnidentifiedImageError:
            raise PictureError(UNKNOWN)
        except (MemoryError, Image.DecompressionBombError):
            raise PictureError("est une image trop grande")
        except Exception:  # what Pillow's decoders raise on damaged files is listed nowhere
            raise PictureError(DAMAGED)


def _open_file(path):
    """Open a regular file (or standard input, read to its end), and never wait for a writer."""
    try:
        if path == STANDARD_INPUT:
            return io.BytesIO(_standard_input())
        if stat.S_ISDIR(os.stat(path).st_mode):
            raise PictureError("est un dossier, pas une image")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise PictureError("n'est pas un fichier ordinaire")
        # Should a FIFO have taken the file's place since, this open does not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        size = os.fstat(descriptor).st_size
        stream = os.fdopen(descriptor, "rb")
    except OSError as error:
        raise PictureError(SYSTEM_REASONS.get(
            error.errno, "ne peut pas être lu (%s)" % errno.errorcode.get(error.errno, error)))
    if not 0 < size <= FILE_BYTES:
        stream.close()
        raise PictureError("est vide" if not size else "est trop gros (%d Mo)" % (size >> 20))
    return stream


@functools.lru_cache(maxsize=None)
def _standard_input():
    """Return the bytes of standard input, which can be read only once."""
    if sys.stdin is None:
        raise PictureError("ne peut pas être lu : l'entrée standard est fermée")
    content = sys.stdin.buffer.read(FILE_BYTES + 1)
    if not content:
        raise PictureError("est vide")
    if len(content) > FILE_BYTES:
        raise PictureError("est trop gros (plus de %d Mo)" % (FILE_BYTES >> 20))
    return content


@functools.lru_cache(maxsize=None)
def _formats():
    """Return the names of the formats that this Pillow knows, their plugins imported.

    `Image.open` would import the plugins of all formats for a file that none of these fits.
    """
    for plugin in PLUGINS:
        try:
            importlib.import_module("PIL.%sImagePlugin" % plugin)
        except ImportError:  # AVIF came with Pillow 11.3
            pass
    return [name.upper() for name in FORMATS if name.upper() in Image.OPEN]


def _as_seen(picture, short_side):
    _check_size(picture)
    large = not _reduces(picture) and picture.width * picture.height > LARGE_PIXELS
    if picture.format in ("JPEG", "MPO"):
        picture.draft(None, _kept_size(picture.size, short_side))
    with _one_large_picture if large else _no_lock:
        picture.load()
        reduced, orientation = _reduce(picture, short_side), _orientation(picture)
        profile = picture.info.get("icc_profile")
        picture.close()  # gives its pixels' memory back
    reduced = _on_white(_in_srgb(reduced, profile))
    return reduced.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else reduced


def _check_size(picture):
    """Refuse what would take too much memory or time, before a pixel is decoded."""
    width, height = picture.size
    for tile in picture.tile:
        if tile[0] in ("ppm", "ppm_plain") and width * height > SLOW_PIXELS:
            raise PictureError(TOO_LARGE % picture.size)
    tags = getattr(picture, "tag_v2", {})
    tile_pixels = tags.get(322, 0) * tags.get(323, 0)  # TileWidth, TileLength
    most = {"WEBP": WEBP_PIXELS}.get(picture.format, JPEG_PIXELS if _reduces(picture) else PIXELS)
    if max(width * height, tile_pixels) > most:
        raise PictureError(TOO_LARGE % picture.size)


def _reduces(picture):
    """Whether the picture's decoder reduces it on the way: a progressive JPEG's keeps it whole."""
    return picture.format in ("JPEG", "MPO") and "progressive" not in picture.info


def _kept_size(size, short_side):
    """Return `size` divided by the greatest whole factor that keeps `short_side` pixels."""
    factor = max(1, min(size) // short_side)
    return size[0] // factor, size[1] // factor


def _reduce(picture, short_side):
    """Return the picture with 8 bits a channel, its mode L, LA, RGB, RGBA, CMYK or LAB, reduced."""
    if picture.mode.startswith("I;16"):
        picture = picture.convert("I")
    elif picture.mode in ("PA", "RGBa", "La") or (
            "transparency" in picture.info and picture.mode not in ("I", "F")):
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "P", "RGBX", "YCbCr", "HSV"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    reduced = picture.reduce(max(1, min(picture.size) // short_side))
    return _eight_bits(reduced) if reduced.mode in ("I", "F") else reduced


def _eight_bits(picture):
    """Scale a grayscale picture of mode I, 16 or 32 bits, or F, without a unit, to 8 bits."""
    brightest = picture.getextrema()[1]
    whites = (1, 255, 65535) if picture.mode == "F" else (65535,)
    white = next((white for white in whites if brightest <= white), brightest)
    return picture.convert("F").point(lambda value: value * (255 / white) + 0.5).convert("L")


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
