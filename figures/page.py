"""The page of `./predict --explain page.html`: the network itself, in a file that a browser opens.

All that it shows is computed in the browser, by the JavaScript of `page.html`; Python puts the
weights, the photograph and the printed prediction into it. {{name}} there stands for a text.
"""
import base64
import html
import io
import json
import os
import re

from figures.common import write_whole

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html")
LONGEST = 720  # pixels, to which the photograph that is shown is reduced


def write_page(name, pictures, network, probabilities, classes, origin, path):
    """Write the page of one picture into the HTML file `path`.

    Args:
        name: of the picture, shown as it is.
        pictures: Pillow images in RGB, the picture as it is classified and as it is shown.
        network: what `ex03_cifar.explain.page_network` returns.
        probabilities: float [C], the prediction.
        classes: the names of the C classes.
        origin: a sentence about where the network comes from, or "".
    Raises:
        UserError: the file cannot be written; one that was there is untouched.
    """
    (numbers, kernels), shown, best = network, pictures[1].copy(), probabilities.argmax()
    shown.thumbnail((LONGEST, LONGEST))
    data = dict(numbers, classes=classes, probabilities=probabilities,
                picture=data_uri(pictures[0], "PNG"), shown=data_uri(shown, "JPEG", quality=88))
    # Each filter's numbers one after another, as those of a window.
    weights = [kernel.reshape(-1, kernel.shape[-1]).T.astype("<f2").tobytes() for kernel in kernels]
    values = dict(
        name=html.escape(name), prediction=classes[best], origin=origin,
        percentage=("%.1f\u00a0%%" % (100 * probabilities[best])).replace(".", ","),
        data=json.dumps(data, default=lambda array: array.tolist()).replace("<", "\\u003c"),
        weights=base64.b64encode(b"".join(weights)).decode())
    with open(TEMPLATE, encoding="utf-8") as stream:
        text = re.sub(r" (?=[:;?!»](\s|<))|(?<=«) ", "\u00a0", stream.read())  # no line ends there
    content = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match.group(1)], text)
    write_whole(path, lambda stream: stream.write(content.encode("utf-8")))


def data_uri(picture, kind, **options):
    """Return a Pillow image as the text of a data URI."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return "data:image/%s;base64,%s" % (kind.lower(), base64.b64encode(stream.getvalue()).decode())
