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

WIDTH, HEIGHT = 830, 930  # pixels of the picture
SCALE = 0.7  # of the page in it
SECONDS = 60  # that the page may take to compute
IS_DONE = "return Boolean(state.done)"
# Where its middle is covered the plane is a bird; a map of the first block is looked at.
USE = """document.querySelector('header').remove();
for (let cell = 0; cell < 20; cell++)
  state.covered.add((4 + Math.floor(cell / 5)) * 12 + 2 + cell % 5);
state.cell = peaksOf(2)[0];
changePhoto();"""


def main():
    parser = console.Parser(description=__doc__.splitlines()[0])
    add_output_dir(parser)
    output = console.writable_folder(parser.parse_args().output_dir)
    options = webdriver.ChromeOptions()
    for argument in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument("--" + argument)
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder, "page.html")
        subprocess.check_call([
            sys.executable, os.path.join(console.REPOSITORY, "predict"), "--exact", "--explain",
            str(page), os.path.join(console.IMAGES, "avion.jpg")])
        with webdriver.Chrome(options=options) as browser:
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(
                width=int(WIDTH / SCALE), height=int(HEIGHT / SCALE), deviceScaleFactor=SCALE,
                mobile=False))
            browser.get(page.as_uri())
            for script in "", USE:
                browser.execute_script(script)
                WebDriverWait(browser, SECONDS).until(lambda _: browser.execute_script(IS_DONE))
            picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture = picture.crop((0, 0, WIDTH, HEIGHT)).quantize(256, kmeans=3, dither=0)
    save_png(picture, os.path.join(output, "explain_page.png"))


if __name__ == "__main__":
    console.run(main)
