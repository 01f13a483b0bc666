"""The test corpus of pictures: one photograph-like picture in many encodings, and damaged files."""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms, features

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
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
        "baseline.jpg": _saved(picture, "JPEG", quality=92),
        "progressive.jpg": _saved(picture, "JPEG", quality=90, progressive=True),
        "444.jpg": _saved(picture, "JPEG", quality=90, subsampling=0),
        "gray.jpg": _saved(gray, "JPEG", quality=92),
        "cmyk.jpg": _saved(cmyk, "JPEG", quality=92),
        "ycck.jpg": _ycck(picture),
        "profile.jpg": _saved(_swapped(picture), "JPEG", quality=95, icc_profile=swapping_profile()),
        "damaged-profile.jpg": _saved(picture, "JPEG", quality=92, icc_profile=b"no profile" * 20),
        "rgb.png": _saved(picture, "PNG"),
        "rgba.png": _saved(opaque, "PNG"),
        "transparent.png": _saved(_on_black(picture), "PNG"),
        "palette.png": _saved(picture.quantize(256), "PNG"),
        "transparent-palette.png": _saved(picture.quantize(255), "PNG", transparency=255),
        "gray.png": _saved(gray, "PNG"),
        "gray-alpha.png": _saved(half, "PNG"),
        "one-bit.png": _saved(picture.convert("1"), "PNG"),
        "gray-16.png": _png(deep[..., None], 0),
        "rgb-16.png": _png(np.asarray(picture).astype(np.uint16) * 257, 2),
        "rgba-16.png": _png(np.asarray(opaque).astype(np.uint16) * 257, 6),
        "profile.png": _saved(_swapped(picture), "PNG", icc_profile=swapping_profile()),
        "misnamed.png": _saved(picture, "JPEG", quality=90),
        "animated.png": _saved(picture, "PNG", save_all=True, append_images=[other]),
        "palette.gif": _saved(picture.quantize(256), "GIF"),
        "animated.gif": _saved(picture.quantize(256), "GIF", save_all=True, append_images=[other]),
        "rgb.bmp": _saved(picture, "BMP"),
        "palette.bmp": _saved(picture.quantize(256), "BMP"),
        "rgb.tif": _saved(picture, "TIFF"),
        "lzw.tif": _saved(picture, "TIFF", compression="tiff_lzw"),
        "deflate.tif": _saved(picture, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": _saved(picture, "TIFF", compression="jpeg", quality=92),
        "cmyk.tif": _saved(cmyk, "TIFF"),
        "gray-16.tif": _saved(Image.fromarray(deep), "TIFF"),
        "float.tif": _saved(Image.fromarray(np.asarray(gray) / np.float32(255)), "TIFF"),
        "lab.tif": _saved(ImageCms.profileToProfile(
            picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
            outputMode="LAB"), "TIFF"),
        "one-bit.tif": _saved(picture.convert("1"), "TIFF", compression="group4"),
        "rgb.ppm": _saved(picture, "PPM"),
        "gray.pgm": _saved(gray, "PPM"),
        "one-bit.pbm": _saved(picture.convert("1"), "PPM"),
        "gray-16.pgm": b"P5 %d %d 65535\n" % picture.size + deep.astype(">u2").tobytes(),
    }
    if features.check("webp"):
        files.update({
            "lossy.webp": _saved(picture, "WEBP", quality=90),
            "lossless.webp": _saved(picture, "WEBP", lossless=True),
            "animated.webp": _saved(picture, "WEBP", save_all=True, append_images=[other])})
    if "AVIF" in Image.SAVE or (Image.init() and "AVIF" in Image.SAVE):
        files["lossy.avif"] = _saved(picture, "AVIF", quality=85)
    for orientation, turn in TURNED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = picture.transpose(turn)
        files["orientation-%d.jpg" % orientation] = _saved(turned, "JPEG", quality=92,
                                                           exif=exif.tobytes())
    files["orientation-6.png"] = _saved(picture.transpose(TURNED[6]), "PNG", exif=_exif(6))
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


def _saved(picture, kind, **options):
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
    content = bytearray(_saved(Image.fromarray(planes, "CMYK"), "JPEG", quality=95))
    content[content.index(b"Adobe") + 11] = 2
    return bytes(content)


def _on_black(picture):
    """A picture whose bright half shines through: on white it looks like the picture itself."""
    pixels = np.asarray(picture).astype(np.float32)
    alpha = np.maximum(255 - pixels.min(axis=2, keepdims=True), 1)
    colours = 255 - (255 - pixels) * 255 / alpha
    return Image.fromarray(np.dstack([colours, alpha]).round().clip(0, 255).astype(np.uint8), "RGBA")


def _png(pixels, colour_type):
    """A PNG of uint16 [H,W,C], which Pillow does not write."""
    def chunk(name, content):
        return (struct.pack(">I", len(content)) + name + content
                + struct.pack(">I", zlib.crc32(name + content)))
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
