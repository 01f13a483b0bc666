"""Draw images/explain_page.png: the page of `./predict --explain` in use, as a browser shows it.

    python tools/draw_page.py

It needs Chromium with its driver (Debian: apt-get install chromium-driver) and selenium.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":  # before anything is imported that may be missing
    from support import environment
    environment.check("selenium")

import io
import pathlib
import subprocess
import tempfile

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from figures.common import save_png
from support import console
from support.arguments import add_output_dir

WIDTH, HEIGHT = 830, 760  # pixels of the picture
SCALE = 0.7  # of the page in it
SECONDS = 60  # that the page may take to compute
DONE = "return Boolean(state.done && !state.busy)"
# The plane's front is covered, and a map of the second block looked at.
USE = """document.querySelector('header').remove();
for (const column of [7, 8, 9, 10, 11]) for (const row of [2, 3, 4])
  state.covered.add(12 * row + column);
state.cell = peakOf(5);
changePhoto();"""


def main():
    parser = console.Parser(description=__doc__.splitlines()[0])
    add_output_dir(parser)
    output = console.writable_folder(parser.parse_args().output_dir)
    options = webdriver.ChromeOptions()
    for argument in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars",
                     "force-device-scale-factor=%s" % SCALE,
                     "window-size=%d,%d" % (WIDTH / SCALE + 1, HEIGHT / SCALE + 1)):
        options.add_argument("--" + argument)
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder, "page.html")
        subprocess.check_call([
            sys.executable, os.path.join(console.REPOSITORY, "predict"), "--exact", "--explain",
            str(page), os.path.join(console.IMAGES, "avion.jpg")])
        with webdriver.Chrome(options=options) as browser:
            browser.get(page.as_uri())
            for script in "", USE:
                browser.execute_script(script)
                WebDriverWait(browser, SECONDS).until(lambda _: browser.execute_script(DONE))
            picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    save_png(picture.crop((0, 0, WIDTH, HEIGHT)).quantize(256, dither=0),
             os.path.join(output, "explain_page.png"))


if __name__ == "__main__":
    console.run(main)
