"""Picture files are read as a person sees them, or refused with a reason."""
import errno
import io
import struct
import sys
import time

import numpy as np
import pytest
from helpers import encodings, formats, photograph, png, run_command
from PIL import Image

from ex03_cifar.views import cifar_views, picture_views, without_margins
from support import picture as reader
from support.picture import PictureError, read_picture


def small(picture):
    return np.asarray(picture.resize((32, 32), Image.BICUBIC)).astype(float)


def read(folder, name, content, short_side=None):
    path = folder / name
    path.write_bytes(content)
    return read_picture(str(path), short_side)


def luma_of(path):
    return np.array(read_picture(str(path)).convert("L"))


def refused(folder, content):
    """Return the problem with a file for both readers: of all pixels, and of a small picture."""
    problems = set()
    for short_side in (None, 96):
        with pytest.raises(PictureError) as caught:
            read(folder, "x", content, short_side)
        problems.add(caught.value.problem)
        assert str(caught.value).startswith(str(folder / "x") + " is ")
    problem, = problems
    return problem


def detail():
    """A corner of a photograph, RGB, small and of odd size."""
    return photograph().crop((150, 100, 211, 137))


@pytest.mark.parametrize("short_side", [None, 96])
def test_every_encoding_shows_the_same_picture(tmp_path, short_side):
    picture = photograph()
    colour, gray = small(picture), small(picture.convert("L").convert("RGB"))
    for name, content in encodings(picture).items():
        seen = small(read(tmp_path, name, content, short_side))
        difference = min(np.abs(seen - colour).mean(), np.abs(seen - gray).mean())
        assert difference < 2.5, name


@pytest.mark.parametrize("mode, name", [
    ("RGB", "a.png"), ("RGB", "a.bmp"), ("RGB", "a.webp"), ("RGB", "a.jpg"), ("L", "a.png"),
    ("1", "a.png"), ("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("CMYK", "a.tif"),
    ("F", "a.tif"), ("YCbCr", "a.jpg")])
def test_luma_is_what_pillow_converts_to(tmp_path, mode, name):
    whole_numbers = detail().convert("L" if mode == "F" else "RGB")  # Pillow cuts fractions off
    whole_numbers.convert(mode).save(str(tmp_path / name))
    with Image.open(str(tmp_path / name)) as picture:
        expected = np.array(picture.convert("L"))
    assert expected.std() > 10
    np.testing.assert_array_equal(luma_of(tmp_path / name), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    gray = np.array(detail().convert("L"))
    deep = (gray.astype(np.uint16) << 8) + 77
    path = tmp_path / ("deep." + suffix)
    if suffix == "pgm":
        path.write_bytes(b"P5 %d %d 65535\n" % gray.shape[::-1] + deep.astype(">u2").tobytes())
    else:
        Image.frombytes("I;16", gray.shape[::-1], deep.astype("<u2").tobytes()).save(str(path))
    np.testing.assert_array_equal(luma_of(path), gray)


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("short_side", [None, 96])
def test_a_float_picture_is_scaled_by_its_white(tmp_path, white, short_side):
    """In [0,1] too: a reader that clips to 8 bits sees it black."""
    gray = np.array(detail().convert("L"))
    gray[0, 0] = 255
    Image.fromarray(gray * np.float32(white / 255)).save(str(tmp_path / "float.tif"))
    seen = np.asarray(read_picture(str(tmp_path / "float.tif"), short_side))
    assert abs(seen.astype(int) - gray[..., None]).max() <= (1 if white == 65535 else 0)


@pytest.mark.parametrize("low, high, kind", [
    (0, 1023, "<u2"), (0, 4095, "<u2"), (7301, 8206, "<u2"), (-3, 3, "<f4"), (0.2, 0.3, "<f4"),
    (-0.5, 0.5, "<f4"), (10 ** 9, 10 ** 9 + 10 ** 6, "<i4")])
@pytest.mark.parametrize("short_side", [None, 96])
def test_a_small_part_of_a_wide_range_is_stretched(tmp_path, low, high, kind, short_side):
    gray = np.array(detail().convert("L")).astype(np.float64)
    gray = (gray - gray.min()) / np.ptp(gray)
    values = (low + (high - low) * gray).astype(kind)
    Image.frombytes({"u": "I;16", "f": "F", "i": "I"}[kind[1]], gray.shape[::-1],
                    values.tobytes()).save(str(tmp_path / "a.tif"))
    seen = np.asarray(read_picture(str(tmp_path / "a.tif"), short_side))[..., 0]
    assert abs(seen - 255 * gray).max() <= 1


def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque(tmp_path):
    picture, (width, height) = detail().convert("RGBA"), detail().size
    for alpha, shown in ((0, detail()), (1, None)):
        picture.putalpha(0)
        picture.putpixel((0, 0), picture.getpixel((0, 0))[:3] + (alpha,))
        pixels = picture.transpose(Image.FLIP_TOP_BOTTOM).tobytes()
        header = struct.pack("<IiiHHIIiiIIIIII", 108, width, height, 1, 32, 3, len(pixels), 0, 0, 0,
                             0, 0xFF, 0xFF00, 0xFF0000, 0xFF000000) + bytes(52)
        content = b"BM" + struct.pack("<III", 122 + len(pixels), 0, 122) + header + pixels
        seen = read(tmp_path, "a.bmp", content)
        assert (seen == shown) if shown else np.ptp(np.asarray(seen)) < 3


@pytest.mark.parametrize("mode, suffix", [("RGB", "jpg"), ("RGB", "png"), ("I;16", "png")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_camera_is_compensated(tmp_path, orientation, mode, suffix):
    gray = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, 8, 0), 8, 1)
    # How each of Exif's orientations (CIPA DC-008, tag 0x0112) stores the upright picture.
    stored = {1: gray, 2: gray[:, ::-1], 3: gray[::-1, ::-1], 4: gray[::-1], 5: gray.T,
              6: np.rot90(gray), 7: gray[::-1, ::-1].T, 8: np.rot90(gray, -1)}[orientation]
    if mode == "I;16":
        deep = np.ascontiguousarray(stored).astype("<u2") << 8
        picture = Image.frombytes("I;16", deep.shape[::-1], deep.tobytes())
    else:
        picture = Image.fromarray(np.ascontiguousarray(stored)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(str(tmp_path / ("a." + suffix)), exif=exif)
    seen = luma_of(tmp_path / ("a." + suffix))
    assert seen.shape == gray.shape
    assert abs(seen.astype(int) - gray).max() <= (3 if suffix == "jpg" else 0)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's; ./predict is tested for silence
def test_a_cut_file_is_refused_or_whole(tmp_path):
    """No picture is returned of which a part is missing: gray halves mislead."""
    for name, content in formats().items():
        whole = small(read(tmp_path, "whole", content, 96))
        for share in np.linspace(0.02, 0.99, 25):
            try:
                cut = read(tmp_path, "cut", content[:int(len(content) * share)], 96)
            except PictureError:
                continue
            assert np.abs(small(cut) - whole).max() < 1, (name, share)


def test_other_formats_of_pillow_are_not_opened(tmp_path):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert refused(tmp_path, postscript) == "unknown"
    for kind in ("ICO", "TGA", "PCX", "SGI", "IM"):
        stream = io.BytesIO()
        photograph().resize((64, 64)).save(stream, kind)
        assert refused(tmp_path, stream.getvalue()) == "unknown"


def png_bomb(width, height):
    return png(width, height, 2, rows=[bytes(1 << 20)])


@pytest.mark.parametrize("content", [
    png_bomb(20000, 20000), png_bomb(100000, 100000), b"P3\n3000 3000\n255\n" + b"1 " * 99,
    b"P6\n50000 50000\n255\n"], ids=["png", "huge-png", "plain-ppm", "ppm"])
def test_a_bomb_is_refused_unread(tmp_path, content):
    start = time.time()
    assert refused(tmp_path, content) in ("large", "memory")
    assert time.time() - start < 1


def test_a_picture_to_be_reduced_may_have_fewer_pixels(tmp_path):
    with pytest.raises(PictureError, match=".9200 x 9200 pixels, at most 75 million"):
        read(tmp_path, "x", png_bomb(9200, 9200), 96)


def test_a_tile_larger_than_its_picture_is_refused(tmp_path):
    """libtiff would hold the whole tile for a picture of ten pixels."""
    def entry(tag, value):
        return struct.pack("<HHII", tag, 4, 1, value)
    tags = [(256, 10), (257, 10), (258, 8), (259, 8), (262, 1), (277, 1), (322, 64000),
            (323, 64000), (324, 8), (325, 99)]
    content = (b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
               + b"".join(entry(*tag) for tag in tags) + b"\0" * 200)
    assert refused(tmp_path, content) == "large"


def test_a_file_that_is_too_big_is_refused(tmp_path):
    with open(str(tmp_path / "big.png"), "wb") as stream:
        stream.truncate(reader.FILE_BYTES + 1)
    with pytest.raises(PictureError, match=r"is too big \(256 MB, at most 256\)"):
        read_picture(str(tmp_path / "big.png"))


MEASURE = """
import resource, sys
from support.picture import read_picture
read_picture("images/avion.jpg", 96)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = read_picture(sys.argv[1], 96)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, *picture.size)
"""


@pytest.mark.parametrize("height, colour_type", [
    (reader.SIDE, 0), (5 * 10 ** 6, 2), (reader.SIDE, 2)], ids=["grey", "colour", "long colour"])
def test_a_picture_of_one_pixel_width_takes_little_memory(tmp_path, height, colour_type):
    pytest.importorskip("resource")
    (tmp_path / "thin.png").write_bytes(png(1, height, colour_type))
    done = run_command(sys.executable, "-c", MEASURE, str(tmp_path / "thin.png"))
    assert done.returncode == 0, done.stderr
    kilobytes, width, seen = map(int, done.stdout.split())
    assert width == 1 and seen <= reader.LONGEST
    # Pillow stores 4 bytes a pixel in colour, and 8 for the address of each row.
    decoded = height * (8 + (4 if colour_type else 1))
    assert kilobytes * 1024 < 1.5 * decoded + 2e7


def test_a_cifar_picture_has_the_views_of_evaluate():
    image = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    views, = picture_views(Image.fromarray(image))
    assert np.array_equal(views, cifar_views(image[None])[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 2), (31, 33), (64, 64), (500, 375)])
def test_any_size_has_views(size):
    views = picture_views(Image.new("RGB", size, (10, 200, 30)))
    assert [view.shape for view in views] == [(1, side, side, 3) for side in (40, 24, 48)]
    assert all(view.dtype == np.uint8 and (view[0, 0, 0] == [10, 200, 30]).all() for view in views)


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_an_animation_that_begins_black_shows_its_next_frame(tmp_path, kind):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ((0, 0, 0), (9, 9, 9), (200, 0, 0))]
    path = str(tmp_path / ("animation." + kind))
    frames[0].save(path, save_all=True, append_images=frames[1:])
    shown = np.asarray(read_picture(path)).astype(int)
    assert np.abs(shown - (200, 0, 0)).max() < 12
    frames[0].save(path, save_all=True, append_images=frames[:1])
    assert np.asarray(read_picture(path)).max() < 12  # all are black


@pytest.mark.parametrize("margins", [
    ((0, 30, 0, 30, "white"),), ((20, 0, 5, 11, (3, 60, 9)),),
    ((0, 40, 40, 0, "black"), (9, 9, 9, 9, "white"))])  # a frame around bands
def test_plain_margins_are_not_the_photograph(margins):
    rng = np.random.RandomState(0)
    photograph = Image.fromarray(rng.randint(0, 256, (60, 80, 3)).astype(np.uint8))
    framed = photograph
    for left, top, right, bottom, colour in margins:
        ground = Image.new("RGB", (framed.width + left + right, framed.height + top + bottom), colour)
        noise = np.asarray(ground).astype(int) + rng.randint(-6, 7, (ground.height, ground.width, 3))
        ground = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
        ground.paste(framed, (left, top))
        framed = ground
    assert np.array_equal(without_margins(framed), photograph)
    for part, expected in zip(picture_views(framed), picture_views(photograph)):
        assert np.array_equal(part, expected)


@pytest.mark.parametrize("drawn", [(0, 0, 0, 0), (30, 40, 33, 45)])
def test_of_a_picture_that_is_almost_all_margin_nothing_is_cut(drawn):
    picture = Image.new("RGB", (90, 70), (200, 200, 190))
    picture.paste((10, 20, 30), drawn)
    assert without_margins(picture).size == picture.size


def test_a_progressive_jpeg_of_very_many_scans_is_refused(tmp_path):
    """Its scans are repeated by hand: each would be decoded over all pixels."""
    stream = io.BytesIO()
    Image.new("L", (5000, 5000)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    first = content.index(b"\xff\xda")
    scan = content[first:content.index(b"\xff", first + 2)]
    path = tmp_path / "scans.jpg"
    path.write_bytes(content[:-2] + scan * 2000 + content[-2:])
    began = time.process_time()
    with pytest.raises(PictureError, match="too large"):
        read_picture(str(path), 96)
    assert time.process_time() - began < 1


def test_what_is_reduced_by_bands_has_no_seams(tmp_path, monkeypatch):
    names = []
    for name, content in encodings(photograph().resize((401, 607))).items():
        (tmp_path / name).write_bytes(content)
        names.append(str(tmp_path / name))
    at_once = [np.asarray(read_picture(name, 96)) for name in names]
    monkeypatch.setattr(reader, "BAND_PIXELS", 401 * 40)
    for name, whole in zip(names, at_once):
        np.testing.assert_array_equal(read_picture(name, 96), whole, name)


# ---- HEIC ----

def test_a_heic_photograph_is_read_by_pillow_heif_under_any_name(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    picture = photograph()
    for orientation, turn in ((1, None), (6, Image.ROTATE_90)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stream = io.BytesIO()
        (picture.transpose(turn) if turn else picture).save(
            stream, "HEIF", quality=95, exif=exif.tobytes())
        seen = read(tmp_path, "IMG_1234.jpg", stream.getvalue(), 96)
        assert np.abs(small(seen) - small(picture)).mean() < 2.5
    with pytest.raises(PictureError) as caught:
        read(tmp_path, "cut.heic", stream.getvalue()[:3000])
    assert caught.value.problem == "damaged"


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heif"])
def test_without_pillow_heif_a_heic_photograph_is_named(tmp_path, monkeypatch, brand):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    content = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(99)
    with pytest.raises(PictureError, match=r"HEIC photo \(iPhone\).* -m pip install pillow-heif"):
        read(tmp_path, "IMG_1234.jpg", content)


# ---- What is ours, and what is the picture's ----

@pytest.mark.parametrize("owner, name", [(Image, "open"), (Image.Image, "crop")])
def test_a_pillow_that_has_changed_is_not_a_damaged_picture(tmp_path, monkeypatch, owner, name):
    content = encodings(detail())["rgb.png"]
    monkeypatch.setattr(owner, name, lambda: "a function of other arguments")
    with pytest.raises(TypeError):
        read(tmp_path, "a.png", content, 8)


# ---- Large pictures ----

def test_a_photograph_of_200_megapixels_is_read(tmp_path):
    Image.linear_gradient("L").resize((16320, 12240)).save(str(tmp_path / "200.jpg"))
    assert min(read_picture(str(tmp_path / "200.jpg"), 96).size) >= 96


def test_an_a3_scan_at_600_dpi_is_read(tmp_path):
    seen = read(tmp_path, "a3.png", png(9921, 7016, 2), 96)
    assert min(seen.size) >= 96 and seen.getpixel((0, 0)) != seen.getpixel((seen.width - 1, 0))


# ---- Transparent grounds ----

@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("object_level, ground", [(255, 128), (235, 128), (128, 255), (0, 255)])
def test_the_ground_of_a_transparent_picture_lets_its_object_be_seen(
        tmp_path, mode, object_level, ground):
    picture = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    picture.paste((object_level,) * 3 + (255,), (20, 10, 40, 30))
    picture.paste((30, 30, 30, 255), (20, 28, 40, 30))  # its wheels
    picture.convert(mode).save(str(tmp_path / "a.png"))
    seen = luma_of(tmp_path / "a.png")
    assert (seen[0, 0], seen[15, 30]) == (ground, object_level)


def test_a_failing_disk_is_not_a_damaged_picture(tmp_path, monkeypatch):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 64:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)
    content = encodings(detail())["rgb.png"]
    monkeypatch.setattr(reader, "_open_file", lambda *_, **__: Failing(content))
    with pytest.raises(PictureError, match="cannot be read .EIO."):
        read_picture("a.png", 8)
