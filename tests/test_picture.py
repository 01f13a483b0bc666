"""Picture files are read as a person sees them, or refused with a reason."""
import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from ex03_cifar import picture as reader
from ex03_cifar.picture import PictureError, read_picture
from ex03_cifar.views import cifar_views, picture_views
from pictures import encodings, formats, photograph


def small(picture):
    return np.asarray(picture.resize((32, 32), Image.BICUBIC)).astype(float)


def read(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return read_picture(str(path))


def refused(folder, content):
    with pytest.raises(PictureError) as caught:
        read(folder, "x", content)
    return str(caught.value)


def test_every_encoding_shows_the_same_picture(tmp_path):
    picture = photograph()
    colour, gray = small(picture), small(picture.convert("L").convert("RGB"))
    for name, content in encodings(picture).items():
        seen = small(read(tmp_path, name, content))
        difference = min(np.abs(seen - colour).mean(), np.abs(seen - gray).mean())
        assert difference < 2.5, name


def test_16_bits_are_scaled(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(str(tmp_path / "ramp.png"))
    seen = np.asarray(read_picture(str(tmp_path / "ramp.png")))[..., 0]
    assert np.abs(seen - ramp / 257).max() <= 1


def test_transparent_is_white(tmp_path):
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(str(tmp_path / "clear.png"))
    assert np.asarray(read_picture(str(tmp_path / "clear.png"))).min() == 255


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's; ./predict is tested for silence
def test_a_cut_file_is_refused_or_whole(tmp_path):
    """No picture is answered of which a part is missing: gray halves mislead."""
    for name, content in formats().items():
        whole = small(read(tmp_path, "whole", content))
        for share in np.linspace(0.02, 0.99, 25):
            try:
                cut = read(tmp_path, "cut", content[:int(len(content) * share)])
            except PictureError:
                continue
            assert np.abs(small(cut) - whole).max() < 1, (name, share)


def test_other_formats_of_pillow_are_not_opened(tmp_path):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert "format connu" in refused(tmp_path, postscript)
    for kind in ("ICO", "TGA", "PCX", "SGI", "IM"):
        stream = io.BytesIO()
        photograph().resize((64, 64)).save(stream, kind)
        assert "format connu" in refused(tmp_path, stream.getvalue())


def png_bomb(width, height):
    def chunk(name, content):
        return (struct.pack(">I", len(content)) + name + content
                + struct.pack(">I", zlib.crc32(name + content)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))


@pytest.mark.parametrize("content", [
    png_bomb(9000, 9000), png_bomb(100000, 100000), b"P3\n3000 3000\n255\n" + b"1 " * 99,
    b"P6\n50000 50000\n255\n"], ids=["png", "huge-png", "plain-ppm", "ppm"])
def test_a_bomb_is_refused_unread(tmp_path, content):
    start = time.time()
    assert "trop grande" in refused(tmp_path, content)
    assert time.time() - start < 1


def test_a_tile_larger_than_its_picture_is_refused(tmp_path):
    """libtiff would hold the whole tile for a picture of ten pixels."""
    def entry(tag, value):
        return struct.pack("<HHII", tag, 4, 1, value)
    tags = [(256, 10), (257, 10), (258, 8), (259, 8), (262, 1), (277, 1), (322, 64000),
            (323, 64000), (324, 8), (325, 99)]
    content = (b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
               + b"".join(entry(*tag) for tag in tags) + b"\0" * 200)
    assert "trop grande" in refused(tmp_path, content)


def test_a_large_jpeg_is_reduced_while_it_is_decoded(tmp_path):
    Image.new("RGB", (6000, 5000), "navy").save(str(tmp_path / "large.jpg"))
    assert max(read_picture(str(tmp_path / "large.jpg")).size) < 1000


def test_a_file_that_is_too_big_is_refused(tmp_path):
    with open(str(tmp_path / "big.png"), "wb") as stream:
        stream.truncate(reader.FILE_BYTES + 1)
    with pytest.raises(PictureError, match="trop gros"):
        read_picture(str(tmp_path / "big.png"))


def test_a_cifar_picture_has_the_views_of_evaluate():
    image = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    views = picture_views(Image.fromarray(image))
    assert np.array_equal(views.first, cifar_views(image[None])[0])
    assert views.further is None


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 2), (31, 33), (64, 64), (500, 375)])
def test_any_size_has_views(size):
    views = picture_views(Image.new("RGB", size, (10, 200, 30)))
    further = views.further()
    assert views.first.shape == (2, 32, 32, 3) and further.shape == (8, 32, 32, 3)
    assert views.first.dtype == further.dtype == np.uint8
    assert np.array_equal(views.first[0, 0, 0], [10, 200, 30])
