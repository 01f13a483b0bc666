"""The colours of the drawn explanations, told apart by the colour-blind: orange and blue."""
INK, GREY, LINE, PAPER = "#1c2028", "#606874", "#969ca6", "#f7f7f7"
ORANGE, BLUE = "#d95f02", "#2166ac"  # to frame and to name things

# Diverging, pale enough to read numbers upon (RdBu by ColorBrewer): zero is PAPER.
_ABOVE = (247, 247, 247), (253, 219, 199), (244, 165, 130)
_BELOW = (247, 247, 247), (209, 229, 240), (146, 197, 222)


def shade(value, full_scale):
    """Return the (red, green, blue) of a number: orange above zero, blue below, deepest at full."""
    stops = _ABOVE if value > 0 else _BELOW
    place = 2 * min(1, abs(value) / full_scale)
    stop = min(1, int(place))
    return tuple(int(low + (high - low) * (place - stop) + 0.5)
                 for low, high in zip(stops[stop], stops[stop + 1]))
