"""./predict --explain page.html in a browser: what it computes is what NumPy and ./predict do."""
import base64
import json
import os
import re
import shutil

import numpy as np
import pytest
from helpers import ROOT, SAMPLE, photograph, predict, release, saved, variables
from PIL import Image, ImageOps

RELEASE = os.path.join(ROOT, "checkpoints", "cifar10")
MEAN = [125.3, 123.0, 113.9]
CLOSE = 0.002  # of a probability
VIEW, LAST = "state.views.first[0]", "resultOf(layers.length - 1)"  # of which maps are read


def predicted(*arguments):
    """Return the probabilities [N,10] that ./predict --exact prints for pictures."""
    code, out, err = predict("--json", "--exact", *arguments)
    assert (code, err) == (0, ""), err
    return [list(json.loads(line)["probabilities"].values()) for line in out.splitlines()]


class Page:
    """A page that ./predict wrote, and what was printed."""

    def __init__(self, picture, folder, weights=RELEASE):
        self.path, self.weights = os.path.join(str(folder), "page.html"), weights
        self.printed, = predicted("--explain", self.path, "--checkpoint-dir", weights, picture)
        with open(self.path, encoding="utf-8") as stream:
            self.text = stream.read()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(SAMPLE, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The page of a network of other widths, two convolutions a block."""
    weights = str(tmp_path_factory.mktemp("own"))
    release(weights, widths=(9, 6, 7), convolutions=2)
    return Page(SAMPLE, tmp_path_factory.mktemp("page"), weights)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium that logs what it asks for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("there is no chromium with chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in "headless", "no-sandbox", "disable-gpu", "hide-scrollbars":
        options.add_argument("--" + argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


def show(browser, page, width=1440, scheme="light"):
    """Open a page at a width and wait until it has computed all."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.get("file://" + page.path)
    finish(browser)


def finish(browser, after=0):
    """Wait until all is computed that was asked after that call; return the probabilities."""
    from selenium.webdriver.support.wait import WebDriverWait
    WebDriverWait(browser, 120).until(lambda _: browser.execute_script(
        "return state.done && state.call > arguments[0]", after))
    return browser.execute_script("return state.now")


def text_of(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).innerText", name)


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def cell_of(browser):
    return browser.execute_script(
        "const {layer, map, row, column} = state.cell; return [layer, map, row, column]")


def numbers(text):
    return [float(found.replace("−", "-").replace(",", "."))
            for found in re.findall(r"−?\d+(?:,\d+)?", text)]


def maps(browser, name):
    *shape, values = browser.execute_script("const {rows, columns, channels, values} = %s;"
                                            "return [rows, columns, channels, [...values]]" % name)
    return np.reshape(values, shape)


def logits(browser):
    return np.array(browser.execute_script("return state.logits[0]"))


# ---- The numbers ----

@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files as people have them; the one in doubt is looked at in three views."""
    plane, car, exif = photograph(), photograph("automobile"), Image.Exif()
    exif[0x0112] = 6
    transparent = plane.convert("RGBA")
    transparent.putalpha(plane.convert("L").point(lambda level: 255 if level < 150 else 0))
    halves = [np.asarray(photograph(name).resize((150, 200))) for name in ("automobile", "bateau")]
    files = {
        "baseline.jpg": saved(plane, "JPEG", quality=92),
        "transparent.png": saved(transparent, "PNG"),
        "exif.jpg": saved(car.transpose(Image.ROTATE_90), "JPEG", quality=92, exif=exif.tobytes()),
        "cifar.png": saved(car.resize((32, 32)), "PNG"),
        "large.jpg": saved(car.resize((3000, 2190), Image.BICUBIC), "JPEG", quality=90),
        "grey.png": saved(photograph("bateau").convert("L"), "PNG"),
        "doubt.png": saved(Image.fromarray(np.hstack(halves)), "PNG"),
        "framed.png": saved(ImageOps.expand(plane, (20, 90, 60, 40), "black"), "PNG"),
        "square.bmp": saved(photograph("camion").resize((300, 300)), "BMP"),
        "strip.png": saved(plane.resize((600, 40)), "PNG")}
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def test_dropped_photographs_get_what_predict_prints(browser, page, pictures):
    show(browser, page)
    views = set()
    for path, expected in zip(pictures, predicted(*pictures)):
        before = browser.execute_script("return state.call")
        browser.find_element("id", "file").send_keys(path)
        assert np.allclose(finish(browser, before), expected, atol=CLOSE), path
        assert text_of(browser, "name") == os.path.basename(path)
        views.add(browser.execute_script("return state.logits.length"))
    assert {1, 6} < views


@pytest.mark.parametrize("place", [1, 3, 6])  # transparent, 32x32, in doubt
def test_the_written_photograph_gets_what_predict_prints(browser, pictures, place, tmp_path):
    shown = Page(pictures[place], tmp_path)
    show(browser, shown)
    assert np.allclose(finish(browser), shown.printed, atol=CLOSE)


def test_the_maps_and_logits_are_those_of_the_network(browser, page, own):
    from ex03_cifar.classifier import Classifier
    from ex03_cifar.explain import last_maps
    for shown in page, own:
        show(browser, shown)
        classifier = Classifier(shown.weights, exact=True)
        expected = classifier.session.run([last_maps(classifier)[0], classifier.logits[0]],
                                          {classifier.images: [maps(browser, VIEW)]})
        assert np.allclose(maps(browser, LAST), expected[0], rtol=0, atol=0.02)
        assert np.allclose(logits(browser), expected[1], atol=2e-3)
    assert "entraîné à part" in text_of(browser, "origin") and "entraîné à part" not in page.text


def test_a_map_that_is_off_counts_for_nothing(browser, own):
    show(browser, own)
    call, before = browser.execute_script("return state.call"), logits(browser)
    browser.execute_script("choose(peaksOf(7)[0])")
    number = cell_of(browser)[1]
    weights = variables(own.weights)["network/head/kernel"][number] / 9
    lost = maps(browser, LAST)[..., number].max() * weights
    click(browser, "#off")
    finish(browser, call)
    assert np.abs(lost).max() > 0.05
    assert np.allclose(logits(browser), before - lost, atol=2e-3)
    assert "Bloc 3, convolution 2, carte %d" % number in text_of(browser, "without")
    click(browser, "#off")
    finish(browser, call + 1)
    assert np.allclose(logits(browser), before)


def test_a_number_is_followed_back_to_the_pixels(browser, page):
    """Each line and each table adds up, and leads to the value that it multiplied."""
    show(browser, page)
    rows = [numbers(row.text)[-2:] for row in browser.find_elements("css selector", "#speak tr")]
    assert np.allclose(np.sum(rows[1:14], axis=0), rows[14], atol=1e-6)
    click(browser, "#speak a")
    for layer in range(10, 0, -1):
        lines = browser.find_elements("css selector", "#origins > li")
        table = [numbers(row.text) for row in lines[-1].find_elements("css selector", "tr")]
        for line in lines[:-1]:
            if " + " in line.text:
                left, right, total = numbers(re.sub(r"carte.*?\)", "", line.text))[-3:]
                assert abs(left + right - total) < 1e-6
        assert all(abs(row[-3] * row[-2] - row[-1]) < 0.01 for row in table[:-2])
        assert abs(sum(row[-1] for row in table[:-1]) - table[-1][-1]) < 1e-6
        assert cell_of(browser)[0] == layer
        click(browser, "#origins table button")
        assert abs(numbers(text_of(browser, "read").split(":")[-1])[0] - table[0][-3]) < 1e-6
    pixel, mean, deviation, value = numbers(text_of(browser, "origins"))
    _, colour, row, column = cell_of(browser)
    assert pixel == maps(browser, VIEW)[row, column, colour] and mean == MEAN[colour]
    assert abs((pixel - mean) / deviation - value) < 6e-4


def test_a_sum_and_its_largest_products_are_those_of_numpy(browser, page):
    weights = variables(RELEASE)
    show(browser, page)
    for layer, name in (1, "whitening"), (2, "block1/conv1"), (6, "block2/conv2"):
        browser.execute_script("choose({layer: arguments[0], step: 0, map: 7, row: 3, column: 5})",
                               layer)
        inputs = maps(browser, "resultOf(%d)" % (layer - 1))
        norm = name.replace("conv", "norm").replace("whitening", "whitening_norm")
        variance = weights["network/%s/moving_variance" % norm][7]
        kernel = weights["network/%s/kernel" % name][..., 7] / np.sqrt(variance + 1e-5)
        first = 3 - (len(kernel) - 1) // 2
        window = inputs[first:, first + 2:][:len(kernel), :len(kernel)]
        products = sorted((window * kernel).ravel(), key=abs)[:-9:-1]
        table = [numbers(row.text)[-1] for row in browser.find_elements("css selector", "li tr")]
        assert np.allclose(table[:8], products, atol=0.005)
        assert abs(table[-1] - np.sum(window * kernel)) < 0.01


@pytest.mark.parametrize("stride, padding, relu, pooling", [
    (1, "VALID", False, False), (2, "SAME", False, False), (3, "SAME", True, False),
    (1, "VALID", True, True)])
def test_a_filter_by_hand_computes_what_it_says(browser, own, stride, padding, relu, pooling):
    show(browser, own)
    kernel = np.arange(9).reshape(3, 3) - 3.5
    browser.execute_script("""
        const [values, stride, padding, relu, pooling] = arguments;
        [...$("nine").children].forEach((input, place) => input.value = values[place]);
        [$("source").selectedIndex, $("stride").value, $("padding").value] = [1, stride, padding];
        [$("relu").checked, $("pooling").checked] = [relu, pooling];
        showLab(state.lab = {row: 1, column: 2});
        """, kernel.ravel().tolist(), stride, padding, relu, pooling)
    added = max(0, (-(-9 // stride) - 1) * stride + 3 - 9) if padding == "SAME" else 0
    letter = np.pad(np.maximum(np.eye(7), np.eye(7)[::-1]), 1, "constant") * 2 - 1
    image = np.pad(letter, ((added // 2, added - added // 2),) * 2, "constant")
    expected = max((image[row * stride:][:3, column * stride:column * stride + 3] * kernel).sum()
                   for row, column in ([(2, 4), (2, 5), (3, 4), (3, 5)] if pooling else [(1, 2)]))
    assert numbers(text_of(browser, "size"))[:5] == [9, 3, added, stride, 1]
    total, *rectified = numbers(text_of(browser, "sum"))[2:]
    assert abs(total - expected) < 1e-3 and rectified == [max(0, total)] * relu
    products = numbers(browser.find_element("css selector", "#grids > :last-child").text)
    assert len(products) == 9 and abs(sum(products) - total) < 1e-3


def test_what_is_covered_is_covered_for_the_network(browser, page, tmp_path):
    """./predict is asked about the picture as the page covers it."""
    from selenium.webdriver import ActionChains
    show(browser, page)
    area = browser.find_element("id", "cover")
    ActionChains(browser).drag_and_drop_by_offset(area, 60, 30).perform()
    cells, content = browser.execute_script(
        "return [state.covered.size, edited(state.original.read).toDataURL()]")
    (tmp_path / "covered.png").write_bytes(base64.b64decode(content.split(",")[1]))
    pixels = np.asarray(Image.open(str(tmp_path / "covered.png")).convert("RGB"))
    assert cells >= 2
    assert abs((pixels == np.round(MEAN)).all(axis=2).mean() - cells / 12 ** 2) < 0.005
    expected, = predicted(str(tmp_path / "covered.png"))
    assert np.allclose(finish(browser), expected, atol=CLOSE)
    call = browser.execute_script("return state.call")
    click(browser, "#reset")
    assert np.allclose(finish(browser, call), page.printed, atol=CLOSE)


# ---- The file, and how it is used ----

@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_is_shown_as_text_and_its_folder_not_at_all(browser, tmp_path):
    name = "\"'><script>alert(1)<∕script>&amp;é.jpg"
    shutil.copy(SAMPLE, str(tmp_path / name))
    release(str(tmp_path / "own"), widths=(64, 256, 256))
    shown = Page(str(tmp_path / name), tmp_path, str(tmp_path / "own"))
    assert "<script>alert" not in shown.text and str(tmp_path) not in shown.text
    show(browser, shown)
    assert text_of(browser, "name") == name and "recette fast" in text_of(browser, "origin")


def test_nothing_overflows_and_a_finger_hits_a_cell(browser, page):
    for width in 320, 360, 768, 776, 1440, 1600:
        show(browser, page, width)
        most = browser.execute_script("""
            for (const words of document.querySelectorAll("details")) words.open = true;
            return Math.max(document.documentElement.scrollWidth, ...Array.from(
              document.querySelectorAll("main *"), box => box.getBoundingClientRect().right));""")
        assert most <= width
        sides = [browser.find_element("css selector", "#%s .cell" % name).rect["width"]
                 for name in ("map", "input", "result")]
        assert width > 600 or min(sides) >= 20


def test_the_keyboard_reaches_all_in_silence_and_nothing_is_asked_for(browser, page):
    from selenium.webdriver.common.keys import Keys
    browser.get_log("performance"), browser.get_log("browser")
    show(browser, page)
    _, _, row, column = cell_of(browser)
    browser.find_element("id", "map").send_keys(Keys.ARROW_UP * 2 + Keys.ARROW_RIGHT)
    assert cell_of(browser)[2:] == [row - 2, column + 1]
    browser.find_element("css selector", "#way button:nth-child(4)").send_keys(Keys.ENTER)
    assert cell_of(browser)[0] == 3
    assert browser.execute_script("return document.activeElement.ariaPressed") == "true"
    browser.find_element("id", "cover").send_keys(Keys.ARROW_DOWN * 3 + Keys.ENTER)
    assert browser.execute_script("return state.covered.size") == 1
    finish(browser)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [message["params"]["request"]["url"] for message in messages
             if message["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not re.match("data:|blob:", url)} == {"file://" + page.path}
    assert os.listdir(os.path.dirname(page.path)) == ["page.html"]


def test_it_is_dark_in_the_dark_and_two_pages_on_paper(browser, own):
    for scheme in "light", "dark":
        show(browser, own, scheme=scheme)
        ground, ink = [np.mean(browser.execute_script(
            "return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).map(Number)", key))
            for key in ("backgroundColor", "color")]
        assert ground > 200 > 60 > ink if scheme == "light" else ground < 60 < 200 < ink
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert 1 <= len(re.findall(rb"/Type /Page\b", paper)) <= 2


def test_without_javascript_it_says_what_was_predicted(browser, own):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get("file://" + own.path)
        text = browser.find_element("tag name", "body").text
        assert len(text) < 300
        assert all(word in text for word in ("avion.jpg", "a trouvé", "JavaScript"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
