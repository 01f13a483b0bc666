"""./predict --explain page.html: its numbers, computed again by NumPy; the page in a browser."""
import base64
import html
import json
import os
import re
import shutil

import numpy as np
import pytest
from helpers import ROOT, SAMPLE, predict, release, variables
from PIL import Image
from scipy.special import expit

RELEASE = os.path.join(ROOT, "checkpoints", "cifar10")
WIDTHS = 360, 830, 1440  # pixels
MAXIMUM = 3 << 20  # bytes


class Page:
    """A page that ./predict wrote, and what is in it."""

    def __init__(self, picture, folder, *options):
        self.path = os.path.join(str(folder), "page.html")
        code, out, err = predict("--json", "--exact", "--explain", self.path, *options + (picture,))
        assert (code, err) == (0, ""), err
        self.prediction = json.loads(out)
        with open(self.path, encoding="utf-8") as stream:
            self.text = stream.read()
        self.numbers = json.loads(re.search(r'id="numbers">(.*?)</script>', self.text).group(1))

    def stage(self, layer, stage):
        """Return the values float [H,W,K] of a stage that the page's script reads."""
        stage = self.numbers["layers"][layer]["stages"][stage]
        values = np.frombuffer(base64.b64decode(stage["values"]), "<i2").reshape(
            -1, stage["rows"], stage["columns"])
        return values.transpose(1, 2, 0) / 10. ** stage["decimals"]

    def view(self):
        side = self.numbers["side"]
        pixels = base64.b64decode(self.numbers["view"])
        return np.frombuffer(pixels, np.uint8).reshape(side, side, 3)

    def tables(self):
        """Return for each class its table's lines, a list of lists of texts."""
        lines = [re.findall(r"<td.*?>(.*?)</td>", line, re.S)
                 for line in re.findall(r"<tr[ >].*?</tr>", self.text, re.S)]
        ends = [place for place, line in enumerate(lines) if line and line[0].startswith("Somme")]
        starts = [place for place, line in enumerate(lines) if not line]  # the heads
        return [lines[start + 1:end + 1] for start, end in zip(starts, ends)]


def number(text):
    return float(html.unescape(text).replace("−", "-").replace(",", "."))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(SAMPLE, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory):
    """The page of a picture that is looked at in several views."""
    folder = tmp_path_factory.mktemp("doubtful")
    halves = [np.asarray(Image.open(os.path.join(ROOT, "images", name + ".jpg")).convert("RGB")
                         .resize((150, 200))) for name in ("automobile", "bateau")]
    Image.fromarray(np.hstack(halves)).save(str(folder / "two.png"))
    return Page(str(folder / "two.png"), folder)


def computed(view, weights):
    """Return (the stages float [H,W,C] of each layer, the logits [10]) of a view, by NumPy alone."""
    def convolve(x, kernel, padding):
        x = np.pad(x, ((padding,) * 2,) * 2 + ((0, 0),))
        size = len(kernel)
        height, width = x.shape[0] - size + 1, x.shape[1] - size + 1
        return sum(x[row:row + height, column:column + width].dot(kernel[row, column])
                   for row in range(size) for column in range(size))

    def normalised(x, name):
        mean, variance, beta = [weights["%s/%s" % (name, part)]
                                for part in ("moving_mean", "moving_variance", "beta")]
        return (x - mean) / np.sqrt(variance + 1e-5) + beta

    def silu(x):
        return x * expit(x)

    x = ((view - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]).astype(np.float32)
    stages = [convolve(x, weights["network/whitening/kernel"], 0)]
    stages.append(normalised(stages[-1], "network/whitening_norm"))
    layers = [stages + [silu(stages[-1])]]
    for block in (1, 2, 3):
        for place in (1, 2, 3):
            scope = "network/block%d/" % block
            if scope + "conv%d/kernel" % place not in weights:
                continue
            stages = [convolve(layers[-1][-1], weights[scope + "conv%d/kernel" % place], 1)]
            if place == 1:
                height, width = [side // 2 for side in stages[0].shape[:2]]
                stages.append(stages[0][:2 * height, :2 * width].reshape(
                    height, 2, width, 2, -1).max(axis=(1, 3)))
            stages.append(normalised(stages[-1], scope + "norm%d" % place))
            if place == 3:
                stages.append(stages[-1] + layers[-2][-1])
            layers.append(stages + [silu(stages[-1])])
    return layers, layers[-1][-1].max(axis=(0, 1)).dot(weights["network/head/kernel"]) / 9


# ---- The numbers ----

def test_the_maps_are_those_of_the_network(page):
    layers, logits = computed(page.view(), variables(RELEASE))
    assert len(layers) == len(page.numbers["layers"]) == 10
    for place, (layer, stages) in enumerate(zip(page.numbers["layers"], layers)):
        assert len(layer["channels"]) == len(set(layer["channels"])) == 16
        peaks = stages[-1].max(axis=(0, 1))
        assert np.allclose(np.sort(peaks)[:-17:-1], peaks[layer["channels"]], atol=1e-3)
        for stage, values in enumerate(stages):
            assert np.abs(page.stage(place, stage) - values[..., layer["channels"]]).max() < 2e-3


def test_the_products_add_up_to_the_value_of_the_map(page):
    cells = re.findall(r'<span style="background:rgb\(.*?\)">(.*?)</span>', page.text)
    window, kernel, products = np.array(list(map(number, cells))).reshape(3, 3, 4).swapaxes(0, 1)
    cell = {name: number(re.search('id="cell-%s">(.*?)<' % name, page.text).group(1))
            for name in ("map", "row", "column", "sum", "value")}
    row, column, channel = int(cell["row"]), int(cell["column"]), int(cell["map"])
    pixels = page.view()[row:row + 2, column:column + 2].reshape(4, 3).T
    weights = variables(RELEASE)["network/whitening/kernel"][..., channel].reshape(4, 3).T
    exact = (pixels - np.array([[125.3], [123.0], [113.9]])) / [[63.0], [62.1], [66.7]]
    for shown, values in ((window, exact), (kernel, weights), (products, exact * weights)):
        assert np.abs(shown - values).max() < 6e-4
    place = page.numbers["layers"][0]["channels"].index(channel)
    assert cell["sum"] == cell["value"] == page.stage(0, 0)[row, column, place]
    assert abs(cell["sum"] - (exact * weights).sum()) < 6e-4


def test_the_contributions_add_up_to_the_logit(page, doubtful):
    weights = variables(RELEASE)
    for shown in page, doubtful:
        layers, logits = computed(shown.view(), weights)
        maxima = layers[-1][-1].max(axis=(0, 1))
        exact = maxima[:, None] * weights["network/head/kernel"] / 9
        assert len(shown.tables()) == 10
        for label, lines in enumerate(shown.tables()):
            thousandths = [round(1000 * number(line[-2])) for line in lines]
            assert len(lines) == 14 and sum(thousandths[:-1]) == thousandths[-1]
            assert abs(thousandths[-1] / 1000 - logits[label]) < 2e-3
            channels = [int(line[0]) for line in lines[:12]]
            for channel, line in zip(channels, lines):
                assert abs(number(line[1]) - maxima[channel]) < 2e-3
                assert abs(number(line[2]) - weights["network/head/kernel"][channel, label]) < 6e-4
                assert abs(number(line[3]) - exact[channel, label]) < 1e-3
            assert exact[channels[:8], label].min() >= np.sort(exact[:, label])[-8] - 1e-3


def test_the_percentages_are_those_of_json_and_of_the_logits(page, doubtful):
    weights = variables(RELEASE)
    for shown, views in (page, 1), (doubtful, 2):
        assert shown.numbers["probabilities"] == shown.prediction["probabilities"]
        assert len(re.findall("vue 2", shown.text)) == (10 if views == 2 else 0)
        panels = shown.text.split('<div class="panel">')[1:]
        for (name, probability), panel in zip(shown.prediction["probabilities"].items(), panels):
            percentage = ("%.1f\xa0%%" % (100 * probability)).replace(".", ",")
            assert "%s %s</label>" % (name, percentage) in shown.text
            own, = re.findall(r"([\d,]+)\xa0%", panel.split("somme des")[1])
            assert percentage[:-2] == own
            logits = [number(text) for text in re.findall(r"vue \d\xa0: <b>(.*?)</b>", panel)]
            score = np.mean(logits) / weights["temperature"]
            assert len(logits) == views
            assert abs(number(re.search(r"divisé par la température.*?<b>(.*?)<", panel).group(1))
                       - score) < 3e-3


def test_grad_cam_weights_the_maps_by_tensorflows_gradients():
    from ex03_cifar import explain
    from ex03_cifar.classifier import Classifier
    from support.tf1 import tf
    classifier = Classifier(exact=True)
    views = np.random.RandomState(0).randint(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    maps, probabilities = explain._maps(classifier, views, [3, 5])
    features = explain.layers(classifier)[-1][-1].maps
    for number, heat, certain in zip((3, 5), maps, probabilities):
        with classifier.session.graph.as_default():
            gradient, = tf.gradients(classifier.logits[:, number], features)
            weighted = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True) * features
            expected = tf.nn.relu(tf.reduce_sum(weighted, axis=3))
        np.testing.assert_allclose(
            heat, classifier.session.run(expected, {classifier.images: views}), atol=1e-5)
        np.testing.assert_allclose(
            certain, classifier.probabilities(classifier.view_logits(views))[:, number], atol=1e-5)


# ---- The file ----

def test_it_is_one_small_file_that_asks_for_nothing(page):
    assert os.path.getsize(page.path) < MAXIMUM
    assert os.listdir(os.path.dirname(page.path)) == ["page.html"]
    asked = r"""(src|href)=["'](?!data:|#)|url\((?!data:)|@import|https?:"""
    assert not re.search(asked, page.text)
    assert "{{" not in page.text and "}}}" not in page.text.split("<script>")[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_is_shown_as_text(tmp_path):
    name = "\"'><script>alert(1)<\\script>\n&amp;é.jpg".replace("\\", "∕")
    shutil.copy(SAMPLE, str(tmp_path / name))
    text = Page(str(tmp_path / name), tmp_path).text
    assert "<script>alert" not in text
    assert text.count("&quot;&#x27;&gt;&lt;script&gt;alert(1)&lt;∕script&gt;\\n&amp;amp;é.jpg") >= 3


@pytest.mark.parametrize("widths, convolutions", [((8, 16, 16), 2), ((20, 8, 4), 3)])
def test_own_weights_and_odd_pictures_give_a_page(widths, convolutions, tmp_path):
    release(str(tmp_path / "own"), widths=widths, convolutions=convolutions)
    noise = np.random.RandomState(0).randint(0, 256, (300, 200, 4)).astype(np.uint8)
    for picture in (noise[:32, :32, :3], noise[:1, :2, :3], noise[:3], noise[..., 0], noise):
        Image.fromarray(picture).save(str(tmp_path / "picture.png"))
        shown = Page(str(tmp_path / "picture.png"), tmp_path,
                     "--checkpoint-dir", str(tmp_path / "own"))
        layers, logits = computed(shown.view(), variables(str(tmp_path / "own")))
        assert len(layers) == len(shown.numbers["layers"]) == 1 + 3 * convolutions
        for lines, logit in zip(shown.tables(), logits):
            thousandths = [round(1000 * number(line[-2])) for line in lines]
            assert sum(thousandths[:-1]) == thousandths[-1]
            assert abs(thousandths[-1] / 1000 - logit) < 2e-3
        assert os.path.getsize(shown.path) < MAXIMUM


# ---- In a browser ----

@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium that logs what it asks for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip("there is no chromium with chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                     "disable-background-networking", "disable-component-update", "disable-sync",
                     "hide-scrollbars", "user-data-dir=%s" % tmp_path_factory.mktemp("browser")):
        options.add_argument("--" + argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


def show(browser, page, width=1440, scheme="light"):
    """Open a page at a width; return the console's lines and the addresses that it asked for."""
    browser.get_log("performance"), browser.get_log("browser")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.get("file://" + page.path)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return browser.get_log("browser"), [
        message["params"]["request"]["url"] for message in messages
        if message["method"] == "Network.requestWillBeSent"]


# The rectangles of all texts that are shown, and how many pixels the page has to the right.
TEXTS = """
const rectangles = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const range = document.createRange();
  range.selectNodeContents(walker.currentNode);
  if (walker.currentNode.data.trim() && walker.currentNode.parentElement.checkVisibility())
    for (const box of range.getClientRects())
      rectangles.push([box.left, box.top, box.right, box.bottom]);
}
return [rectangles, document.documentElement.scrollWidth - innerWidth];
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_or_overflows(browser, page, doubtful, width):
    for shown in page, doubtful:
        show(browser, shown, width)
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        rectangles, beyond = browser.execute_script(TEXTS)
        left, top, right, bottom = np.array([box for box in rectangles if box[2] > box[0]]).T
        assert beyond <= 0 and left.min() >= 0 and right.max() <= width and len(left) > 500
        over = ((np.minimum.outer(right, right) - np.maximum.outer(left, left) > 1.5)
                & (np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top) > 4))
        np.fill_diagonal(over, False)
        assert not over.any(), np.argwhere(over)[:5]


def test_the_console_is_silent_and_nothing_is_asked_for(browser, page, doubtful):
    for shown in page, doubtful:
        console, asked = show(browser, shown)
        assert console == []
        assert [url for url in asked if not url.startswith("data:")] == ["file://" + shown.path]


def in_the_middle(browser, selector):
    """Scroll an element to the middle of the window; return it."""
    element = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})",
                           element)
    return element


def text_of(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0]).innerText", selector)


def test_a_click_on_a_class_shows_its_map(browser, page):
    show(browser, page)
    seen = set()
    for label, name in enumerate(page.prediction["probabilities"]):
        in_the_middle(browser, "label[for=class-%d]" % label).click()
        panel, = [panel for panel in browser.find_elements("css selector", ".panel")
                  if panel.is_displayed()]
        assert "« %s »" % name in panel.text.replace("\xa0", " ")
        seen.add(panel.find_element("css selector", "img").get_attribute("src"))
    assert len(seen) == 10


def test_pointing_at_a_cell_marks_its_receptive_field(browser, page):
    show(browser, page)
    from selenium.webdriver import ActionChains
    field = page.numbers["layers"][4]["stages"][3]
    image = in_the_middle(browser, "#layer4 .panels > div:nth-child(4) .map:nth-child(6) img")
    row, column = 4, 2
    ActionChains(browser).move_to_element_with_offset(image, *[
        int(round(((index + 0.5) / field["rows"] - 0.5) * side)) for index, side in
        ((column, image.rect["width"]), (row, image.rect["height"]))]).perform()
    told = text_of(browser, "#layer4 .read")
    value = page.stage(4, 3)[row, column, 5]
    assert "ligne 4, colonne 2" in told and number(re.search(r": (.*?)\.", told).group(1)) == value
    left, top, width, height = browser.execute_script(
        "const style = document.querySelector('#layer4 .field').style;"
        "return ['left', 'top', 'width', 'height'].map(side => parseFloat(style[side]))")
    for (begin, length), index in (((left, width), column), ((top, height), row)):
        first = max(0, field["start"] + index * field["step"])
        last = min(40, field["start"] + index * field["step"] + field["size"])
        assert np.allclose([begin, begin + length], [100 * first / 40, 100 * last / 40], atol=1e-3)


def test_the_keyboard_reaches_every_cell_and_its_numbers(browser, page):
    """The sum that the browser computes is the network's at every cell that is tried."""
    from selenium.webdriver.common.keys import Keys
    show(browser, page)
    weights = variables(RELEASE)["network/whitening/kernel"]
    frame = browser.find_element("id", "result")
    for keys in (Keys.ARROW_LEFT * 50 + Keys.ARROW_UP * 50,
                 Keys.ARROW_DOWN * 7 + Keys.ARROW_RIGHT * 11,
                 Keys.SHIFT + Keys.ARROW_RIGHT * 3 + Keys.SHIFT, Keys.ARROW_DOWN * 50):
        frame.send_keys(keys)
        cell = {name: number(text_of(browser, "#cell-" + name))
                for name in ("map", "row", "column", "sum", "value")}
        row, column, channel = int(cell["row"]), int(cell["column"]), int(cell["map"])
        pixels = page.view()[row:row + 2, column:column + 2]
        window = (pixels - [125.3, 123.0, 113.9]) / [63.0, 62.1, 66.7]
        assert cell["sum"] == cell["value"]
        assert abs(cell["value"] - (window * weights[..., channel]).sum()) < 6e-4
    assert (row, column) == (38, 11) and channel == page.numbers["layers"][0]["channels"][3]
    browser.find_element("id", "class-0").send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element("id", "class-1").is_selected()
    word = browser.find_element("css selector", ".words summary")
    word.send_keys(Keys.ENTER)
    assert word.find_element("xpath", "..").get_attribute("open")


def test_it_is_dark_in_the_dark_and_printable(browser, page):
    bright = "return getComputedStyle(document.body).%s.match(/\\d+/g).slice(0, 3).map(Number)"
    levels = {}
    for scheme in "light", "dark":
        show(browser, page, scheme=scheme)
        levels[scheme] = [np.mean(browser.execute_script(bright % key))
                          for key in ("backgroundColor", "color")]
    assert levels["light"][0] > 200 > 60 > levels["light"][1]
    assert levels["dark"][0] < 60 < 200 < levels["dark"][1]
    paper = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page") > 4
    assert not browser.find_elements("css selector", "details:not([open])")


def test_without_javascript_it_is_a_page_to_read(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page, 360)
        text = browser.find_element("tag name", "body").text
        assert "presque certain" in text and "Pointez une case" not in text
        assert "5,917" in text and "Les 500 autres cartes ensemble" in text
        in_the_middle(browser, "label[for=class-3]").click()
        assert "« Chat »" in browser.find_element("id", "class-tabs").text.replace("\xa0", " ")
        assert len([image for image in browser.find_elements("css selector", "#layer0 .map img")
                    if image.is_displayed()]) == 16
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
