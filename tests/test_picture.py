"""Picture files are read as a person sees them, or refused with a reason."""
import errno
import io
import struct
import sys
import time

import numpy as np
import pytest
from helpers import FULL, encodings, mutations, photograph, png, saved
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


def test_every_encoding_shows_the_same_picture(tmp_path, monkeypatch):
    """Whole, reduced, and reduced by bands so small that there are several."""
    picture = photograph()
    colour, gray = small(picture), small(picture.convert("L").convert("RGB"))
    for name, content in encodings(picture).items():
        reduced = read(tmp_path, name, content, 96)
        for seen in small(reduced), small(read_picture(str(tmp_path / name))):
            difference = min(np.abs(seen - colour).mean(), np.abs(seen - gray).mean())
            assert difference < 2.5, name
        with monkeypatch.context() as patch:
            patch.setattr(reader, "BAND_PIXELS", picture.width * 20)
            assert read_picture(str(tmp_path / name), 96) == reduced, name


@pytest.mark.parametrize("low, high, kind", [
    (0, 1, "<f4"), (0, 255, "<f4"), (0, 65535, "<f4"), (0, 65535, "<u2"),  # scaled by their white
    (0, 1023, "<u2"), (7301, 8206, "<u2"), (-3, 3, "<f4"), (0.2, 0.3, "<f4"),
    (10 ** 9, 10 ** 9 + 10 ** 6, "<i4")])
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


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's; ./predict is tested for silence
def test_a_cut_file_is_refused_or_whole(tmp_path):
    """No picture is returned of which a part is missing: gray halves mislead."""
    for name, content in encodings(photograph().resize((96, 71))).items():
        whole = small(read(tmp_path, "whole", content, 96))
        for share in np.linspace(0.02, 0.99, 25):
            try:
                cut = read(tmp_path, "cut", content[:int(len(content) * share)], 96)
            except PictureError:
                continue
            assert np.abs(small(cut) - whole).max() < 1, (name, share)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_are_pictures_or_refused(tmp_path):
    """Cut, with flipped bits or under another's header; any other error would be a traceback."""
    problems = []
    files = encodings(photograph().resize((96, 71)))
    for name, content in mutations(files, 2000 if FULL else 500, np.random.RandomState(0)):
        try:
            picture_views(read(tmp_path, name, content, 96))
        except PictureError as error:
            problems.append(error.problem)
    assert 100 < len(problems) < 2000 and {"damaged", "unknown"} <= set(problems)


def test_other_formats_of_pillow_are_not_opened(tmp_path):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert refused(tmp_path, postscript) == "unknown"
    for kind in ("ICO", "TGA", "PCX", "SGI", "IM"):
        assert refused(tmp_path, saved(photograph().resize((64, 64)), kind)) == "unknown"


@pytest.mark.parametrize("content", [
    png(20000, 20000, 2, rows=[bytes(1 << 20)]), png(100000, 100000, 2, rows=[bytes(1 << 20)]),
    b"P3\n3000 3000\n255\n" + b"1 " * 99, b"P6\n50000 50000\n255\n"],
    ids=["png", "huge-png", "plain-ppm", "ppm"])
def test_a_bomb_is_refused_unread(tmp_path, content):
    start = time.time()
    assert refused(tmp_path, content) in ("large", "memory")
    assert time.time() - start < 1


def test_a_picture_to_be_reduced_may_have_fewer_pixels(tmp_path):
    with pytest.raises(PictureError, match=".9200 x 9200 pixels, at most 75 million"):
        read(tmp_path, "x", png(9200, 9200, 2, rows=[bytes(1 << 20)]), 96)


def test_a_file_that_is_too_big_is_refused(tmp_path):
    with open(str(tmp_path / "big.png"), "wb") as stream:
        stream.truncate(reader.FILE_BYTES + 1)
    with pytest.raises(PictureError, match=r"is too big \(256 MB, at most 256\)"):
        read_picture(str(tmp_path / "big.png"))


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
    assert np.abs(np.asarray(read_picture(path)).astype(int) - (200, 0, 0)).max() < 12
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
        size = framed.width + left + right, framed.height + top + bottom
        ground = Image.new("RGB", size, colour)
        noise = np.asarray(ground).astype(int) + rng.randint(-6, 7, size[::-1] + (3,))
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


# ---- HEIC ----

def test_a_heic_photograph_is_read_by_pillow_heif_under_any_name(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(photograph().transpose(Image.ROTATE_90), "HEIF", quality=95,
                    exif=exif.tobytes())
    seen = read(tmp_path, "IMG_1234.jpg", content, 96)
    assert np.abs(small(seen) - small(photograph())).mean() < 2.5
    assert refused(tmp_path, content[:3000]) == "damaged"


@pytest.mark.parametrize("brand", [b"heic", b"hevc", b"mif1", b"msf1"])
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


@pytest.mark.parametrize("number, sentence", [
    (errno.EIO, "cannot be read .EIO."), (errno.EACCES, "cannot be read: permission denied")])
def test_a_failing_disk_is_not_a_damaged_picture(monkeypatch, number, sentence):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 64:
                raise OSError(number, "the system's reason")
            return super().read(size)
    content = encodings(detail())["rgb.png"]
    monkeypatch.setattr(reader, "_open_file", lambda *_: Failing(content))
    with pytest.raises(PictureError, match=sentence):
        read_picture("a.png", 8)
