"""Animated GIFs, the same bytes from every version of Pillow.

Pillow compresses each frame; what is between the frames is written here, since its versions
differ in how they tell what has not changed.
"""
import io
import struct

import numpy as np
from PIL import Image

from figures.common import write_whole

COLOURS = 63  # and one that stands for what has not changed
UNCHANGED = COLOURS


def save_gif(frames, times, path):
    """Write an endless animation, whole or not at all, in its most common colours.

    Args:
        frames: Pillow images in RGB, of one size.
        times: milliseconds, of each.
    Raises:
        UserError: it cannot be written; one that was there is untouched.
    """
    palette, frames = _in_few_colours(frames)
    height, width = frames[0].shape
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0x80 | 5, 0, 0), palette.tobytes(),
             b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"]  # the table of 2 ** 6 colours; for ever
    before = None
    for frame, time in zip(frames, times):
        changed = np.ones(frame.shape, bool) if before is None else frame != before
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        pixels = np.where(changed, frame, UNCHANGED)[top:bottom, left:right].astype(np.uint8)
        # What was drawn before stays (1 << 2), and one index is transparent (1).
        parts.append(b"\x21\xf9\x04" + struct.pack("<BHBB", 1 << 2 | 1, time // 10, UNCHANGED, 0))
        parts.append(b"\x2c" + struct.pack("<HHHHB", left, top, right - left, bottom - top, 0))
        parts.append(_compressed(pixels))
        before = frame
    write_whole(path, lambda stream: stream.write(b"".join(parts) + b"\x3b"))
    print("Wrote %s" % path)


def _in_few_colours(frames):
    """Return a palette uint8 [64, 3] and the frames as uint8 [rows, columns], indices into it."""
    weights = 1 << 16, 1 << 8, 1
    coded = [np.asarray(frame).astype(int) @ weights for frame in frames]
    colours, counts = np.unique(np.stack(coded), return_counts=True)
    common = colours[np.argsort(-counts, kind="stable")][:COLOURS]
    red_green_blue = [np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
                      for codes in (colours, common)]
    distances = ((red_green_blue[0][:, None] - red_green_blue[1][None]) ** 2).sum(axis=-1)
    nearest = distances.argmin(axis=1).astype(np.uint8)
    palette = np.zeros((COLOURS + 1, 3), np.uint8)
    palette[:len(common)] = red_green_blue[1]
    return palette, [nearest[np.searchsorted(colours, codes)] for codes in coded]


def _compressed(pixels):
    """Return the image data of a GIF, by Pillow: all that follows its only image descriptor."""
    image = Image.fromarray(pixels)
    image.putpalette(bytes(768))
    stream = io.BytesIO()
    image.save(stream, "GIF", optimize=False, interlace=False)
    content = stream.getvalue()
    descriptor = b"\x2c" + struct.pack("<HHHH", 0, 0, *pixels.shape[::-1])
    start = content.index(descriptor) + 10
    if content[start - 1] & 0x80:  # a table of colours of its own
        start += 3 << (content[start - 1] & 7) + 1
    return content[start:-1]
