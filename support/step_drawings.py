"""The steps of a convolutional network, explained: arrays in, a Pillow image out."""
import numpy as np

from figures.common import BLUE, GREY, ORANGE
from support.sheet import Sheet, signed

ONES = 3.2  # a scale on which 1 and -1 are pale
FILTER_NAMES = "arm", "centre", "other arm"


def draw_steps(letters, filters, maps, rectified, pooled):
    """From the numbers of a picture to its pooled feature maps.

    Args:
        letters: [2, 9, 9] of 1 and -1, an X and an O.
        filters: [3, 3, 3], the first axis the filters.
        maps, rectified: [2, 7, 7, 3], the last axis the filters.
        pooled: [2, 4, 4, 3].
    """
    sheet = Sheet(30, 94)
    sheet.text(1, 1.7, "How a convolution sees an X", 1.5, bold=True)
    sheet.heading(4.4, "1  A picture is numbers", "ink is 1, paper is –1")
    sheet.numbers(3, 7, letters[0], ONES)
    sheet.numbers(17, 7, letters[1], ONES)

    sheet.heading(18.2, "2  A filter looks for one pattern",
                  "multiply a window by the filter, cell by cell, and add up")
    for top, (row, column), colour, verdict in (
            (21, (1, 1), ORANGE, ("The same pattern:", "9 is the most.")),
            (25.9, (1, 5), BLUE, ("Hardly alike. The", "opposite is –9."))):
        window = letters[0][row:row + 3, column:column + 3]
        _draw_sum(sheet, top, window, filters[0], colour, verdict)
        sheet.box(3 + column, 7 + row, 3, 3, colour, 0.16)

    sheet.heading(32.2, "3  Slide each filter over the whole picture",
                  "ReLU and max-pooling keep what matters")
    for top, letter, name in ((38.8, 0, "X"), (67.4, 1, "O")):
        _draw_layers(sheet, top, name, filters, maps[letter], rectified[letter], pooled[letter])
    for column, colour in ((1, ORANGE), (5, BLUE)):
        sheet.box(6 + column, 38.8 + 1, 1, 1, colour, 0.16)
    best = pooled.max(axis=(1, 2)).astype(int)
    sheet.text(1, 92.4, "Best matches: the X %d, %d, %d, the O %d, %d, %d." % tuple(best.ravel()),
               0.9, bold=True)
    return sheet.picture()


def _draw_sum(sheet, top, window, pattern, colour, verdict):
    """The arithmetic of one cell of a feature map."""
    products = window * pattern
    for left, values, label, sign in ((1, window, "window", "×"), (5.5, pattern, "filter", "="),
                                      (10, products, "products", "")):
        sheet.numbers(left, top, values, ONES)
        sheet.text(left + 1.5, top + 3.6, label, colour=GREY, anchor="mm")
        sheet.text(left + 3.75, top + 1.5, sign, 1, anchor="mm")
    sheet.box(1, top, 3, 3, colour, 0.16)
    sheet.arrow(13.4, top + 1.5, 1.5)
    sheet.text(14.1, top + 0.7, "sum", colour=GREY, anchor="mm")
    sheet.numbers(15.4, top + 1, products.sum().reshape(1, 1))
    sheet.box(15.4, top + 1, 1, 1, colour, 0.16)
    for line, words in enumerate(verdict):
        sheet.text(17.4, top + 0.95 + 1.1 * line, words, 0.86)


def _draw_layers(sheet, top, name, filters, maps, rectified, pooled):
    """Three rows, one a filter: the letter's feature map, then ReLU, then max-pooling."""
    for left, title, meaning in ((1, "Filter", ""), (6, "Feature map: " + name, "49 sums"),
                                 (15, "ReLU", "below 0 becomes 0"), (24, "Pooling", "best of 2×2")):
        sheet.text(left, top - 2.2, title, 0.8, bold=True)
        sheet.text(left, top - 1, meaning, colour=GREY)
    for index, pattern in enumerate(filters):
        y = top + 8 * index
        sheet.numbers(1, y + 2, pattern, ONES)
        sheet.text(2.5, y + 5.6, FILTER_NAMES[index], colour=GREY, anchor="mm")
        sheet.numbers(6, y, maps[..., index])
        sheet.numbers(15, y, rectified[..., index])
        sheet.numbers(24, y + 1.5, pooled[..., index])
        for x in (4.4, 13.4, 22.4):
            sheet.arrow(x, y + 3.5, 1.3)
        sheet.box(15, y, 2, 2, thickness=0.12)
        sheet.box(24, y + 1.5, 1, 1, thickness=0.12)


def draw_decision(letters, names, pooled, smallest, layer, votes, probabilities):
    """From the pooled feature maps to the answer.

    Args:
        letters: [N, 9, 9] of 1 and -1; the first two are the X and the O of draw_steps().
        names: of the N letters; each begins with its right answer.
        pooled: [N, 4, 4, 3]; smallest: [N, 2, 2, 3], pooled again.
        layer: weights [12, 2] and biases [2] of the votes for X and for O.
        votes, probabilities: [N, 2].
    """
    weights, biases = layer
    sheet = Sheet(30, 48.6 + 4.6 * len(letters))
    sheet.text(1, 1.7, "How the network decides", 1.5, bold=True)
    sheet.heading(4.4, "4  Pool once more, then lay the maps flat",
                  "a cell of all three maps, then the next: a row of twelve")
    for top, letter in ((7.4, 0), (16.4, 1)):
        sheet.text(1.5, top + 2, "XO"[letter], 1.4, bold=True, anchor="mm")
        for index in range(3):
            sheet.numbers(3 + 4.6 * index, top, pooled[letter, ..., index])
            sheet.numbers(19.6 + 3 * index, top + 1, smallest[letter, ..., index])
        sheet.arrow(17, top + 2, 2.2)
        sheet.arrow(23.6, top + 3.4, 1.8, down=True)
        sheet.text(15.8, top + 6, "laid flat", colour=GREY, anchor="rm")
        sheet.numbers(16.6, top + 5.5, _flat(smallest[letter]))

    sheet.heading(26.4, "5  A fully connected layer: twelve weights a vote",
                  "the X's row minus the O's, scaled for a vote of +2 or –2")
    ninths = 9 * weights
    for y, answer in ((29.4, 0), (31.4, 1)):
        sheet.text(1, y + 0.5, "weights for %s, in ninths" % "XO"[answer], 0.76)
        sheet.numbers(16.6, y, ninths[np.newaxis, :, answer], ONES)
    sheet.text(1, 34.2, "vote = row × weights, added up, + bias", 0.86, bold=True)
    sheet.text(1, 35.6, "bias in ninths: %s for X, %s for O" % tuple(
        signed(9 * bias, "%+.0f") for bias in biases), 0.76, GREY)

    sheet.heading(38.4, "6  The answer", "softmax turns the two votes into parts of 100 %")
    for x, title in ((6, "laid flat"), (19, "vote X"), (22.2, "vote O"), (25.6, "answer")):
        sheet.text(x, 42, title, 0.76, GREY)
    for index, name in enumerate(names):
        top = 43.2 + 4.6 * index
        sheet.numbers(1, top, letters[index], 1.3, side=0.44)
        sheet.text(6, top + 0.7, name, 0.86, bold=True)
        sheet.numbers(6, top + 1.7, _flat(smallest[index]))
        for answer, x in ((0, 19), (1, 22.2)):
            sheet.text(x, top + 2.2, signed(votes[index, answer], "%+.2f"), 0.86)
        best = probabilities[index].argmax()
        sheet.text(25.6, top + 2.2, "%s %.0f %%" % ("XO"[best], 100 * probabilities[index, best]),
                   0.9, (ORANGE, BLUE)[best], bold=True)
    sheet.text(1, 45.6 + 4.6 * len(letters), "Only the first two were used to compute the weights.",
               0.86, bold=True)
    sheet.text(1, 47 + 4.6 * len(letters), "A network that learns finds its filters and weights "
               "by itself.", 0.76, GREY)
    return sheet.picture()


def _flat(maps):
    return maps.reshape(1, -1)


def draw_slide(picture, pattern, feature_map, count, stride):
    """One moment of the sliding window.

    Args:
        picture: [7, 7]; pattern: [3, 3].
        feature_map: [rows, columns], of which the first `count` cells are known.
        stride: cells from one window to the next.
    """
    sheet = Sheet(17, 14.4, cell=44)
    known = np.where(np.arange(feature_map.size).reshape(feature_map.shape) < count, feature_map,
                     np.nan)
    row, column = divmod(count - 1, feature_map.shape[1])
    x, y = column * stride, row * stride
    window = picture[y:y + 3, x:x + 3]
    sheet.text(0.7, 0.9, "Stride %d: the window moves by %s" % (
        stride, ("one cell", "two cells")[stride - 1]), 0.7, bold=True)
    sheet.numbers(0.7, 1.9, picture, ONES)
    sheet.box(0.7 + x, 1.9 + y, 3, 3, ORANGE, 0.16)
    sheet.arrow(8.2, 5.4, 1.7)
    left, top = 10.6, 5.4 - feature_map.shape[0] / 2
    sheet.numbers(left, top, known)
    sheet.box(left + column, top + row, 1, 1, ORANGE, 0.16)
    sheet.text(left, top - 0.6, "feature map", 0.6, GREY)
    for x, values, label, sign in ((0.7, window, "window", "×"), (5.2, pattern, "filter", "="),
                                   (9.7, window * pattern, "products", "")):
        sheet.numbers(x, 10, values, ONES)
        sheet.text(x + 1.5, 13.6, label, 0.6, GREY, anchor="mm")
        sheet.text(x + 3.75, 11.5, sign, 0.9, anchor="mm")
    sheet.box(0.7, 10, 3, 3, ORANGE, 0.16)
    sheet.arrow(13, 11.5, 1.6)
    sheet.text(13.7, 10.8, "sum", 0.6, GREY, anchor="mm")
    sheet.numbers(15, 11, np.array([[feature_map[row, column]]]))
    sheet.box(15, 11, 1, 1, ORANGE, 0.16)
    return sheet.picture()
