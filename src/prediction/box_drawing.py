"""Detections drawn into a copy of their image: masks, frames, and tags with label and score."""

import colorsys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ..detection.run_lengths import RunLengths
from ..errors import UserError, printable
from ..terminal.fonts import choose_font, find_fonts, shorten
from .mask_drawing import draw_mask

SMALLEST = 320
"""Images whose shorter side is shorter are enlarged (pixels) ..."""

LONGEST = 8192
"""... as far as their longer side does not become longer than this."""

PALETTE = (
    "#D55E00",  # vermilion
    "#56B4E9",  # sky blue
    "#F0E442",  # yellow
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#AAFFC3",  # mint
    "#A020F0",  # purple
    "#800000",  # maroon
)
"""Colours of the first ten labels, which those who confuse red and green tell apart: the seven of Okabe and Ito (Color
Universal Design, 2008) and three that are far from them."""

_HALO = 0.55  # opacity of the line around a frame, which parts it from what it is like
_GOLDEN = 0.6180339887498949  # a step around the circle of hues that comes near no earlier place for long
_STRENGTHS = ((0.95, 1.0), (0.55, 0.95), (0.9, 0.62))  # saturation and value by turns

_Rectangle = tuple[int, int, int, int]  # x0 y0 x1 y1 in pixels; the last two are the first beyond it
_Colour = tuple[int, int, int]


class _Tag(NamedTuple):
    text: str
    font: ImageFont.FreeTypeFont
    width: int
    height: int


class _Sizes(NamedTuple):
    """Of what is drawn into an image, in pixels: thickness of lines, height of letters, room around a text, radius of
    corners."""

    line: int
    letters: int
    room: int
    radius: int


def draw_boxes(
    image: Image.Image,
    boxes: np.ndarray,
    labels: Sequence[int],
    scores: Sequence[float],
    classes: Sequence[str],
    fonts: Sequence[ImageFont.FreeTypeFont] | None = None,
    masks: Sequence[RunLengths] | None = None,
) -> Image.Image:
    """A copy of an image with a frame for each box and a tag 'label score'; the best are above the others. Masks are
    below all frames.

    An image whose shorter side is below 320 pixels is enlarged by a whole factor. Boxes are clipped to the image.

    Args:
        image: of any mode; it stays as it is.
        boxes: (n, 4), x0 y0 x1 y1 in pixels of `image`.
        labels: (n,) indices of `classes`, which decide the colours too.
        scores: (n,) from 0 to 1.
        classes: names.
        fonts: of `find_fonts`, which are looked for where None is given.
        masks: n in the size of `image`, where there are some.

    Returns:
        RGB.

    Raises:
        UserError: boxes are not four numbers each, boxes, labels and scores not of one number or not finite, a
            label is of no class, or masks are not one a box or of another size than the image.
    """
    boxes = np.asarray(boxes, np.float64)
    boxes = boxes if boxes.size else boxes.reshape(0, 4)
    labels, scores = [int(label) for label in labels], np.asarray(scores, np.float64)
    _check(boxes, labels, scores, len(classes))
    if masks is not None:
        _check_masks(masks, len(boxes), image.size)
    fonts = find_fonts() if fonts is None else fonts
    factor = max(1, min(-(-SMALLEST // min(image.size)), LONGEST // max(image.size)))
    picture = image.convert("RGB")  # a copy
    if factor > 1:
        picture = picture.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    sizes = _sizes(picture.size)
    order = np.argsort(-scores, kind="stable").tolist()  # the best first
    frames = [_frame(box, picture.size, sizes.line) for box in (boxes * factor).tolist()]
    for index in reversed(order if masks is not None else ()):
        colour = label_colour(labels[index])
        draw_mask(picture, masks[index], colour, text_colour(colour), factor, sizes.line)
    for index in reversed(order):
        _draw_frame(picture, frames[index], label_colour(labels[index]), sizes)
    tags = {
        index: _tag(classes[labels[index]], scores[index], frames[index], picture.width, sizes, fonts)
        for index in order
    }
    places = _place_tags([(tags[index], frames[index]) for index in order], frames, picture.size, sizes)
    for index, place in zip(reversed(order), reversed(places), strict=True):
        _draw_tag(picture, tags[index], place, label_colour(labels[index]), sizes)
    return picture


def label_colour(label: int) -> _Colour:
    """RGB of a label's index from 0, always the same."""
    if label < len(PALETTE):
        return ImageColor.getrgb(PALETTE[label])
    further = label - len(PALETTE)
    saturation, value = _STRENGTHS[further % len(_STRENGTHS)]
    red, green, blue = colorsys.hsv_to_rgb((0.08 + further * _GOLDEN) % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def text_colour(background: _Colour) -> _Colour:
    """Black or white, whichever has more contrast on `background`."""
    black, white = (luminance(background) + 0.05) / 0.05, 1.05 / (luminance(background) + 0.05)
    return (0, 0, 0) if black >= white else (255, 255, 255)


def luminance(colour: _Colour) -> float:
    """Relative luminance of sRGB, 0 to 1 (WCAG 2.1, by which contrast is (lighter + 0.05) / (darker + 0.05))."""
    shares = np.array(colour) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _check(boxes: np.ndarray, labels: list[int], scores: np.ndarray, num_classes: int) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UserError(f"expected boxes of four numbers each, x0 y0 x1 y1, got an array of shape {boxes.shape}")
    if not len(boxes) == len(labels) == len(scores):
        raise UserError(
            f"expected as many boxes as labels and scores, got {len(boxes)}, {len(labels)} and {len(scores)}"
        )
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise UserError("expected boxes and scores that are finite: weights are damaged or training diverged")
    wrong = next((label for label in labels if not 0 <= label < num_classes), None)
    if wrong is not None:
        raise UserError(f"expected labels from 0 to {num_classes - 1}, one for each class, got {wrong}")


def _check_masks(masks: Sequence[RunLengths], number: int, size: tuple[int, int]) -> None:
    if len(masks) != number:
        raise UserError(f"expected a mask for each of {number} boxes, got {len(masks)}")
    wrong = next((mask["size"] for mask in masks if tuple(mask["size"]) != size[::-1]), None)
    if wrong is not None:
        raise UserError(
            f"expected masks of {size[1]} x {size[0]} pixels (height x width), as the image has, got {wrong[0]} x "
            f"{wrong[1]}"
        )


def _sizes(size: tuple[int, int]) -> _Sizes:
    """For an image that is looked at as a whole: by its geometric mean, as far as the shorter side has room."""
    side = min((size[0] * size[1]) ** 0.5, 2 * min(size))
    letters = max(12, round(side / 40))
    return _Sizes(max(2, round(side / 260)), letters, max(2, round(letters / 4)), max(2, round(letters / 5)))


def _frame(box: list[float], size: tuple[int, int], line: int) -> _Rectangle:
    """Whole pixels of a box inside the image, at least as large as its lines."""
    sides = []
    for low, high, end in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        low, high = (round(min(max(value, 0), end)) for value in (low, high))
        low = max(0, min(low, end - 2 * line - 1))
        sides.append((low, min(end, max(high, low + 2 * line + 1))))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def _coverage(area: _Rectangle, rectangle: _Rectangle, radius: float) -> np.ndarray:
    """How much of each pixel of `area` a rectangle with round corners covers, (height, width) from 0 to 1."""
    x0, y0, x1, y1 = rectangle
    if x1 <= x0 or y1 <= y0:
        return np.zeros((area[3] - area[1], area[2] - area[0]), np.float32)
    radius = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    x = np.abs(np.arange(area[0], area[2], dtype=np.float32) + 0.5 - (x0 + x1) / 2) - ((x1 - x0) / 2 - radius)
    y = np.abs(np.arange(area[1], area[3], dtype=np.float32) + 0.5 - (y0 + y1) / 2) - ((y1 - y0) / 2 - radius)
    beyond = np.hypot(np.maximum(x, 0)[None], np.maximum(y, 0)[:, None])  # of the centres of corners
    inside = np.minimum(np.maximum(x[None], y[:, None]), 0)
    return np.clip(radius + 0.5 - beyond - inside, 0, 1)


def _paint(picture: Image.Image, area: _Rectangle, coverage: np.ndarray, colour: _Colour) -> None:
    mask = Image.fromarray(np.round(255 * coverage).astype(np.uint8))
    picture.paste(colour, area, mask)


def _draw_frame(picture: Image.Image, frame: _Rectangle, colour: _Colour, sizes: _Sizes) -> None:
    halo = max(1, sizes.line // 3)
    ring = _grown(frame, halo), frame, _grown(frame, -sizes.line), _grown(frame, -sizes.line - halo)
    radii = [max(0, sizes.radius + by) for by in (halo, 0, -sizes.line, -sizes.line - halo)]
    for area in _strips(ring[0], sizes.line + 2 * halo + sizes.radius, picture.size):
        around, outer, inner, within = (_coverage(area, *pair) for pair in zip(ring, radii, strict=True))
        _paint(picture, area, _HALO * (around - within), text_colour(colour))
        _paint(picture, area, outer - inner, colour)


def _strips(outline: _Rectangle, thickness: int, size: tuple[int, int]) -> Iterator[_Rectangle]:
    """The outer part of an outline, four areas that do not overlap, as far as they are in the image."""
    x0, y0, x1, y1 = outline
    top, bottom = min(y0 + thickness, y1), max(y1 - thickness, min(y0 + thickness, y1))
    left, right = min(x0 + thickness, x1), max(x1 - thickness, min(x0 + thickness, x1))
    for area in ((x0, y0, x1, top), (x0, bottom, x1, y1), (x0, top, left, bottom), (right, top, x1, bottom)):
        low_x, low_y = max(area[0], 0), max(area[1], 0)
        high_x, high_y = min(area[2], size[0]), min(area[3], size[1])
        if low_x < high_x and low_y < high_y:
            yield low_x, low_y, high_x, high_y


def _grown(rectangle: _Rectangle, by: int) -> _Rectangle:
    x0, y0, x1, y1 = rectangle
    return x0 - by, y0 - by, x1 + by, y1 + by


def _tag(
    label: str, score: float, frame: _Rectangle, width: int, sizes: _Sizes, fonts: Sequence[ImageFont.FreeTypeFont]
) -> _Tag:
    """Its text, cut where the label is much longer than box and image have room for."""
    font = choose_font(fonts, label).font_variant(size=sizes.letters)
    number = f"{score:.2f}"
    free = width - 2 * sizes.room - font.getlength(f" {number}")
    text = shorten(printable(label), font, int(min(free, max(frame[2] - frame[0], 0.5 * width))))
    text = f"{text} {number}".strip()
    above, below = font.getmetrics()
    return _Tag(text, font, round(font.getlength(text)) + 2 * sizes.room, above + below + sizes.room)


def _place_tags(
    tags: Sequence[tuple[_Tag, _Rectangle]], frames: Sequence[_Rectangle], size: tuple[int, int], sizes: _Sizes
) -> list[tuple[int, int]]:
    """Where the upper left corners of tags stand, the most important first: at its box, in the image, where it hides
    as little of earlier tags and of small boxes as can be."""
    boxes = np.array(frames, np.float64).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    taken = np.zeros((0, 4))
    places = []
    for tag, frame in tags:
        x, y, cost = _candidates(tag, frame, size, sizes)
        spots = np.stack((x, y, x + tag.width, y + tag.height), 1)
        cost += 20 * _shared(spots, taken).sum(1) / (tag.width * tag.height)
        cost += 2 * (_shared(spots, boxes) / areas).max(1)
        best = spots[int(np.argmin(cost))]
        taken = np.concatenate((taken, best[None]))
        places.append((int(best[0]), int(best[1])))
    return places


def _candidates(tag: _Tag, frame: _Rectangle, size: tuple[int, int], sizes: _Sizes) -> tuple[np.ndarray, ...]:
    """x (c,), y (c,) and how unusual each place is, 0 to 2: above the box at its left, in it, below it, beside it."""
    x0, y0, x1, y1 = frame
    columns = (x0, x1 - tag.width, (x0 + x1 - tag.width) // 2)
    joint = sizes.line if y1 - y0 > 10 * sizes.line else 0  # on the line, so that the two are one
    rows = [(y0 - tag.height + joint, 0.0), (y0, 0.1), (y1 - joint, 0.2), (y1 - tag.height, 0.25)]
    steps = np.unique(np.linspace(y0, max(y0, y1 - tag.height), 12).astype(int)).tolist()
    places = [(x, y, cost + 0.05 * number) for y, cost in rows for number, x in enumerate(columns)]
    places += [(x, y, 0.5) for y in steps for x in (x0, x1 - tag.width, x0 - tag.width, x1)]
    places += [(x0, y0 - number * tag.height, 0.5 + 0.1 * number) for number in range(2, 8)]
    places += [(x0, y1 + number * tag.height, 0.5 + 0.1 * number) for number in range(1, 7)]
    x, y, cost = (np.array(values, np.float64) for values in zip(*places, strict=True))
    inside_x = np.clip(x, 0, max(0, size[0] - tag.width))
    inside_y = np.clip(y, 0, max(0, size[1] - tag.height))
    moved = np.abs(x - inside_x) / tag.width + np.abs(y - inside_y) / tag.height
    return inside_x, inside_y, cost + 0.3 * moved


def _shared(spots: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pixels (s, o) that rectangles (s, 4) and (o, 4) share."""
    low = np.maximum(spots[:, None, :2], others[None, :, :2])
    high = np.minimum(spots[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def _draw_tag(picture: Image.Image, tag: _Tag, place: tuple[int, int], colour: _Colour, sizes: _Sizes) -> None:
    x, y = place
    rectangle = (x, y, min(x + tag.width, picture.width), min(y + tag.height, picture.height))
    _paint(picture, rectangle, _coverage(rectangle, rectangle, sizes.radius), colour)
    capital = -tag.font.getbbox("H", anchor="ls")[1]
    baseline = y + (tag.height + capital) // 2
    ImageDraw.Draw(picture).text((x + sizes.room, baseline), tag.text, text_colour(colour), tag.font, anchor="ls")
