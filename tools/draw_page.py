"""Draw images/explain_page.png: a part of the page of `./predict --explain`, as a browser shows it.

    python tools/draw_page.py

It needs Chromium (Debian: apt-get install chromium).
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check()

import pathlib
import subprocess
import tempfile

from PIL import Image

from figures.common import save_png
from support import console
from support.arguments import add_output_dir

WIDTH, HEIGHT = 830, 700  # pixels of the picture
SCALE = 0.7  # of the page in it
SHOWN = """<style>
  header, nav, #vue, #calcul, #classes, .words, #couches > p, .layer:not(#layer1), footer {
    display: none !important; }
  #couches h2 { margin-top: 1rem; }
</style>"""


def main():
    parser = console.Parser(description=__doc__.splitlines()[0])
    add_output_dir(parser)
    output = console.writable_folder(parser.parse_args().output_dir)
    with tempfile.TemporaryDirectory() as folder:
        page, shot = pathlib.Path(folder, "page.html"), os.path.join(folder, "page.png")
        subprocess.check_call([
            sys.executable, os.path.join(console.REPOSITORY, "predict"), "--exact", "--explain",
            str(page), os.path.join(console.IMAGES, "avion.jpg")])
        page.write_text(page.read_text(encoding="utf-8") + SHOWN, encoding="utf-8")
        subprocess.check_call([
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--user-data-dir=%s" % os.path.join(folder, "browser"), "--screenshot=" + shot,
            "--force-device-scale-factor=%s" % SCALE,
            "--window-size=%d,%d" % (WIDTH / SCALE + 1, HEIGHT / SCALE + 1), page.as_uri()])
        with Image.open(shot) as picture:
            picture = picture.convert("RGB").crop((0, 0, WIDTH, HEIGHT)).quantize(256, dither=0)
        save_png(picture, os.path.join(output, "explain_page.png"))


if __name__ == "__main__":
    console.run(main)
