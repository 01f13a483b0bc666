"""The page of `./predict --explain page.html`: a picture's way through the network, in a browser.

Its HTML, CSS and JavaScript are in `page.html`: the page, and then the parts that are repeated.
{{name}} there stands for a text, which is escaped, {{{name}}} for HTML.
"""
import base64
import functools
import html
import io
import json
import os
import re

import numpy as np
from PIL import Image

from figures.common import BLUE, ORANGE, PAPER, write_whole

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html")
LONGEST, SMALL = 720, 128  # pixels: photographs are reduced to LONGEST; up to SMALL, pixels show
ELONGATED = 8  # the most elongated shape that a photograph is shown in
MOST_FOR, MOST_AGAINST = 8, 4  # contributions to a logit; the others are shown as one number
SIGNED = ("#123a6b", BLUE, PAPER, ORANGE, "#7a2c00")
HEAT = ("#808080", "#6a4c93", "#b5367a", "#ee5b4a", "#fca50a", "#fcffa4")  # grey: nothing
STAGES = {"convolution": "convolution", "pooling": "max-pooling", "normalisation": "normalisation",
          "shortcut": "raccourci", "activation": "activation"}
VIEWS = {  # what the views show, by their number
    1: ["La photo entière, écrasée en carré"],
    2: ["La photo entière, écrasée en carré", "Le carré du milieu"],
    6: ["Telle quelle", "Décalée d'un pixel vers le bas et la droite",
        "Décalée d'un pixel vers le haut et la gauche", "La première, en miroir",
        "La deuxième, en miroir", "La troisième, en miroir"]}
CERTAINTY = (  # from which probability on, and what is said
    (0.99, "Le réseau est presque certain : %s."), (0.95, "Le réseau est très sûr : %s."),
    (0.8, "Le réseau est assez sûr : %s, avec un petit doute (%s)."),
    (0.5, "Le réseau hésite : plutôt %s, mais peut-être %s."),
    (0, "Le réseau ne sait pas vraiment : %s vient devant %s, mais n'atteint pas la moitié."))


def write_page(name, picture, walk, probabilities, classes, path):
    """Write the page of one picture, at most 3 MB, into the HTML file `path`.

    Args:
        name: of the picture, shown as it is.
        picture: a Pillow image in RGB.
        walk: an `ex03_cifar.explain.Walk`.
        probabilities: float [C], the prediction.
        classes: the names of the C classes.
    Raises:
        UserError: the file cannot be written; one that was there is untouched.
    """
    order = np.argsort(-probabilities, kind="stable")
    percentages = [percentage(probability) for probability in probabilities]
    numbers = range(len(classes))
    titles = ["Bloc %d, convolution %d" % layer.position if layer.position else "Blanchiment"
              for layer in walk.layers]
    content = part(
        "page", **_photo(picture), **_views(walk), **_calculation(walk), name=name,
        prediction=classes[order[0]], certainty=_certainty(probabilities, classes),
        bars=many("bar", ((classes[number], "best" if number == order[0] else "",
                           "%.2f" % (100 * probabilities[number]), percentages[number])
                          for number in order)),
        way=many("way", ((number, title, layer.kernel[3]) + layer.stages[-1].maps.shape[:2]
                         for number, (title, layer) in enumerate(zip(titles, walk.layers)))),
        layers="".join(map(_layer, range(len(titles)), titles, walk.layers)),
        class_tabs=_tabs("class", order[0], list(map("{} {}".format, classes, percentages))),
        class_panels="".join(map(functools.partial(_class, walk), numbers, classes, percentages)),
        tab_rules=",\n".join(".tabs > input:nth-of-type(%d):checked ~ .panels > :nth-child(%d)" % (
            number, number) for number in range(1, 1 + max(len(STAGES), len(classes)))),
        features=len(walk.features), scores=len(classes), divisor=french(1 / walk.scale, 0),
        precision="nombres de %s bits (%s)" % (re.sub(r"\D", "", walk.precision), walk.precision),
        signed=", ".join(SIGNED), heat=", ".join(HEAT),
        numbers=_numbers(walk, probabilities, classes))
    write_whole(path, lambda stream: stream.write(content.encode("utf-8")))


# ---- Text ----
@functools.lru_cache(maxsize=None)
def _parts():
    """Return {name: text} of the template's parts, "page" the first."""
    with open(TEMPLATE, encoding="utf-8") as stream:
        text = re.sub(r" (?=[:;?!»](\s|<))|(?<=«) ", "\u00a0", stream.read())  # no line ends there
    page, *others = re.split(r"<!-- part (\w+) -->\n", text)
    return dict(zip(others[::2], others[1::2]), page=page)


def part(which, **values):
    """Return a part of the template with its values in it."""
    def value(match):
        raw, escaped = match.groups()
        return str(values[raw]) if raw else html.escape(str(values[escaped]))
    return re.sub(r"\{\{\{(\w+)\}\}\}|\{\{(\w+)\}\}", value, _parts()[which])


def many(which, rows):
    """Return a part of the template for each row, its values in the order of their first use."""
    names = list(dict.fromkeys(re.findall(r"\{\{(\w+)\}\}", _parts()[which])))
    return "".join(part(which, **dict(zip(names, row))) for row in rows)


def french(value, decimals):
    """Return a number with a decimal comma and a true minus sign, but never "−0"."""
    text = ("%.*f" % (decimals, value)).replace(".", ",")
    return text.replace("-", "−" if re.search("[1-9]", text) else "")


def percentage(probability, decimals=1):
    return french(100 * probability, decimals) + "\u00a0%"


def _power(value):
    """Return a positive number with four digits, in powers of ten where it is large or small."""
    digits, _, exponent = ("%.4g" % value).replace(".", ",").partition("e")
    return "%s × 10^%d" % (digits, int(exponent)) if exponent else digits


def _certainty(probabilities, classes):
    """Return in words how sure the prediction is."""
    best = np.argsort(-probabilities, kind="stable")[:2]
    words = next(words for least, words in CERTAINTY if probabilities[best[0]] >= least)
    named = ["%s %s" % (classes[number].lower(), percentage(probabilities[number]))
             for number in best]
    return words % tuple(named[:words.count("%s")])


# ---- Images ----
def data_uri(picture, kind="PNG", **options):
    """Return a Pillow image as the text of a data URI."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return "data:image/%s;base64,%s" % (kind.lower(), encoded(stream.getvalue()))


def encoded(content):
    return base64.b64encode(content).decode("ascii")


def palette(stops, count):
    """Return `count` colours uint8 [count,3] that pass evenly through the stops, "#rrggbb"."""
    stops = np.array([[int(stop[place:place + 2], 16) for place in (1, 3, 5)] for stop in stops])
    places = np.linspace(0, len(stops) - 1, count)
    return np.stack([np.interp(places, range(len(stops)), channel) for channel in stops.T],
                    axis=1).round().astype(np.uint8)


SHADES, HEATS = palette(SIGNED, 63), palette(HEAT, 64)
OPACITY = np.linspace(0, 200, len(HEATS)).astype(np.uint8)


def shade(values, scale):
    """Return the places in SHADES, uint8, of values from -scale to scale."""
    middle = (len(SHADES) - 1) // 2
    return np.floor(middle + middle * np.clip(values / scale, -1, 1) + 0.5).astype(np.uint8)


def _paletted(places, colours, **options):
    picture = Image.fromarray(places)
    picture.putpalette(colours.tobytes())
    return data_uri(picture, optimize=True, **options)


# ---- 1: what the network sees ----
def _photo(picture):
    """Return the photograph's values in the template."""
    aspect, small = picture.width / picture.height, max(picture.size) <= SMALL
    picture = picture.copy()
    picture.thumbnail((LONGEST, LONGEST), Image.LANCZOS)
    return dict(photo=data_uri(picture) if small else data_uri(picture, "JPEG", quality=88),
                size="small" if small else "",
                aspect="%.4f" % min(ELONGATED, max(1 / ELONGATED, aspect)))


def _views(walk):
    """Return the views' values in the template."""
    count, side = walk.views.shape[:2]
    images = [data_uri(Image.fromarray(view)) for view in walk.views]
    return dict(side=side, views=many("view", zip(images, range(1, count + 1), VIEWS[count])),
                why=part("views%d" % count, threshold=percentage(walk.threshold, 0)))


# ---- 2: layer by layer ----
def _layer(number, title, layer):
    """Return the card of a layer."""
    size, _, before, filters = layer.kernel
    kinds, last = [stage.kind for stage in layer.stages], layer.stages[-1]
    count = len(layer.channels)
    return part(
        "layer", number=number, title=title, filters=filters, size=size, before=before,
        open="open" if number == 0 or "pooling" in kinds else "", field=last.field.size,
        rows=last.maps.shape[0], columns=last.maps.shape[1],
        inputs="%d cartes d'avant" % before if number else "trois couleurs de la vue",
        shown="%d des %d cartes" % (count, filters) if count < filters else "Les %d cartes" % count,
        text="".join(part(kind) for kind in ["whitening"] * (number == 0) + kinds
                     if kind in ("whitening", "pooling", "shortcut")),
        tabs=_tabs("stage%d" % number, len(kinds) - 1, [STAGES[kind] for kind in kinds]),
        panels="".join(_stage(layer, stage) for stage in layer.stages))


def _stage(layer, stage):
    images = [_paletted(shade(values, _scale(stage)), SHADES)
              for values in np.moveaxis(stage.maps, 2, 0)]
    return part("stage", count=len(layer.channels), name=STAGES[stage.kind],
                scale=french(_scale(stage), 2), maps=many("map", zip(images, layer.channels)))


def _tabs(group, checked, labels):
    return many("tab", ((group, number, "checked" if number == checked else "", label)
                        for number, label in enumerate(labels)))


def _scale(stage):
    """Return the value that a stage's strongest colour stands for."""
    return max(float(np.abs(stage.maps).max()), 1e-3)


def _strongest_cell(layer):
    maps = layer.stages[-1].maps[..., 0]
    return [int(index) for index in np.unravel_index(maps.argmax(), maps.shape)]


# ---- 3: one convolution ----
def _calculation(walk):
    """Return the values in the template of one convolution, at the strongest cell of all."""
    layer, size = walk.layers[0], walk.kernel.shape[0]
    row, column = _strongest_cell(layer)
    pixels, kernel = walk.views[0, row:row + size, column:column + size], walk.kernel[..., 0]
    window = (pixels - np.array(walk.mean)) / walk.deviation
    return dict(
        window=size, products=window.size, cell_map=layer.channels[0], cell_row=row,
        cell_column=column, cell_value=french(layer.stages[0].maps[row, column, 0], 3),
        mean=" · ".join(french(value, 1) for value in walk.mean),
        deviation=" · ".join(french(value, 1) for value in walk.deviation),
        filters=many("option", enumerate(layer.channels)),
        colours="".join(part("colour", name=name, window=first, filter=second, products=third)
                        for name, first, second, third in zip(
                            ("Rouge", "Vert", "Bleu"),
                            *map(_grids, (window, kernel, window * kernel)))))


def _grids(numbers):
    """Return the HTML of numbers [h,w,3], a grid for each colour, on shades pale enough to read."""
    shades = SHADES[shade(numbers, 3 * max(np.abs(numbers).max(), 1e-6))]
    cells = [many("cell", (("rgb(%d,%d,%d)" % tuple(colour), french(number, 3))
                           for number, colour in zip(channel.flat, colours.reshape(-1, 3))))
             for channel, colours in zip(np.moveaxis(numbers, 2, 0), np.moveaxis(shades, 2, 0))]
    return [part("grid", window=numbers.shape[1], cells=text) for text in cells]


# ---- 4: what speaks for each class ----
def contributions(walk, number):
    """Return (the channels shown, their contributions, the rest, the logit) of a class.

    The last three are whole thousandths, the rest such that they add up.
    """
    exact = walk.scale * walk.features.astype(float) * walk.head[:, number]
    order = np.argsort(-exact, kind="stable")
    shown = np.concatenate([order[:MOST_FOR], order[MOST_FOR:][-MOST_AGAINST:]])
    thousandths = np.rint(1000 * exact[shown]).astype(int)
    logit = int(np.rint(1000 * float(walk.logits[0, number])))
    return shown, thousandths, logit - int(thousandths.sum()), logit


def _class(walk, number, name, probability):
    """Return the panel of one class."""
    shown, thousandths, rest, logit = contributions(walk, number)
    widest, others = max(1, np.abs(thousandths).max()), len(walk.features) - len(shown)
    logits = walk.logits[:, number].astype(float)
    scores = walk.logits.astype(float).mean(axis=0) / walk.temperature
    powers = np.exp(scores)
    heat = np.rint((len(HEATS) - 1) * walk.heat[number]).astype(np.uint8)
    return part(
        "class", name=name, divisor=french(1 / walk.scale, 0), probability=probability,
        heat=_paletted(heat, HEATS, transparency=OPACITY.tobytes()),
        rows=many("row", (
            (*walk.cells[channel], channel, french(walk.features[channel], 3),
             french(walk.head[channel, number], 3), french(amount / 1000, 3),
             "against" if amount < 0 else "for", "%.1f" % (100 * abs(amount) / widest))
            for channel, amount in zip(shown, thousandths))),
        others="Les %d autres cartes ensemble" % others if others else "Arrondis",
        rest=french(rest / 1000, 3), logit=french(logit / 1000, 3),
        logits=many("logit", ((place, french(value, 3)) for place, value in enumerate(logits, 1))),
        mean=many("mean", [(len(logits), french(logits.mean(), 3))] if len(logits) > 1 else []),
        temperature=french(walk.temperature, 3), score=french(scores[number], 3),
        power=_power(powers[number]), classes=len(scores), powers=_power(powers.sum()),
        own=percentage(powers[number] / powers.sum()))


def _numbers(walk, probabilities, classes):
    """Return the JSON that the page's script reads."""
    return json.dumps(dict(
        probabilities={name: round(float(value), 6) for name, value in zip(classes, probabilities)},
        view=encoded(walk.views[0].tobytes()), side=walk.views.shape[1],
        window=walk.kernel.shape[0],
        mean=list(walk.mean), deviation=list(walk.deviation), palette=SHADES.tolist(),
        kernels=walk.kernel.transpose(3, 2, 0, 1).reshape(walk.kernel.shape[3], 3, -1).tolist(),
        layers=[dict(channels=layer.channels.tolist(), strongest=_strongest_cell(layer),
                     stages=list(map(_stage_numbers, layer.stages))) for layer in walk.layers],
    )).replace("<", "\\u003c")


def _stage_numbers(stage):
    """Return a stage for the script, its values whole numbers of 10^-decimals, two bytes each."""
    scale, (rows, columns) = _scale(stage), stage.maps.shape[:2]
    decimals = next(count for count in (3, 2, 1, 0) if scale * 10 ** count < 32767 or not count)
    values = np.rint(stage.maps.transpose(2, 0, 1) * 10 ** decimals).clip(-32767, 32767)
    return dict(stage.field._asdict(), name=STAGES[stage.kind],
                rows=rows, columns=columns, scale=scale, decimals=decimals,
                values=encoded(values.astype("<i2").tobytes()))
