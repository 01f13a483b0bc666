"""Photographs become images like those of the data set."""
import numpy as np
import pytest
from PIL import Image

from support import photograph

GARMENT = (80 + 3 * np.arange(28)[:, None] + 5 * np.arange(18)).astype(np.uint8)


@pytest.mark.parametrize("background, negative", [(0, False), (255, True), (200, True)])
def test_an_object_is_bright_in_the_middle_of_black_whatever_its_background(background, negative):
    shown = background - GARMENT * (background / 255) if negative else GARMENT
    large = Image.fromarray(np.rint(shown).astype(np.uint8)).resize((180, 280), Image.NEAREST)
    photo = Image.new("L", (400, 300), background)
    photo.paste(large, (190, 7))
    image = photograph.centred(photo.convert("RGB"))
    assert image.shape == (28, 28) and not image[:, :5].any() and not image[:, 23:].any()
    assert np.abs(image[:, 5:23].astype(int) - GARMENT).mean() < 3


def test_a_garment_on_a_coloured_background_is_trimmed_by_colour():
    photo = Image.new("RGB", (90, 60), (200, 120, 120))
    photo.paste((120, 160, 160), (10, 10, 50, 20))  # of nearly the same grey
    image = photograph.centred(photo)
    rows, columns = np.nonzero(image)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 16, 0, 27)


def test_files_that_cannot_be_read_are_named_and_skipped(tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ("red.png", "absent.png", "text.png", "good.png")]
    Image.new("RGB", (9, 9), "red").save(paths[0])
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(paths[3])
    assert [path for path, _ in photograph.read_all(paths)] == [paths[3]]
    red, absent, text = capsys.readouterr().err.splitlines()
    assert paths[0] in red and "one colour" in red
    assert paths[1] in absent and paths[2] in text
