"""Pictures of detections: what is where in them, colours that can be told apart, tags that can be read."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from src.detection.run_lengths import encode
from src.errors import UserError
from src.prediction.box_drawing import PALETTE, draw_boxes, label_colour, luminance, text_colour
from src.terminal.fonts import find_fonts

FONTS = [ImageFont.load_default(16)]
CLASSES = ["cat", "dog", "bird"] + [f"class {number}" for number in range(3, 80)]
GREY = (128, 128, 128)


def draw(size, boxes, labels=None, scores=None, classes=CLASSES, masks=None):
    labels = range(len(boxes)) if labels is None else labels
    scores = np.linspace(0.9, 0.1, len(boxes)) if scores is None else scores
    return draw_boxes(Image.new("RGB", size, GREY), np.array(boxes), labels, scores, classes, FONTS, masks)


def where(picture, colour):
    """(height, width) bool."""
    return (np.asarray(picture) == colour).all(axis=2)


def extent(mask):
    """x0 y0 x1 y1 of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((64, 64), (320, 320)),
        ((100, 200), (400, 800)),
        ((319, 400), (638, 800)),
        ((320, 400), (320, 400)),
        ((64, 5000), (64, 5000)),
        ((1, 1), (320, 320)),
        ((1, 30000), (1, 30000)),
        ((8000, 500), (8000, 500)),
    ],
)
def test_sizes(size, drawn):
    picture = draw(size, [[0, 0, *size], [0.2 * size[0], 0.3 * size[1], 0.6 * size[0], 0.9 * size[1]]])
    assert picture.mode == "RGB" and picture.size == drawn
    assert where(picture, label_colour(0)).any()


def test_the_image_stays_as_it_is():
    for mode in ("RGB", "L", "RGBA", "P", "1"):
        image = Image.new(mode, (400, 400))
        before = image.tobytes()
        picture = draw_boxes(image, [[10, 10, 90, 90]], [0], [0.5], CLASSES, FONTS)
        assert image.tobytes() == before and picture.mode == "RGB" and picture.tobytes() != before
    bare = Image.new("RGB", (400, 400), GREY)
    assert draw_boxes(bare, np.zeros((0, 4)), [], [], CLASSES, FONTS).tobytes() == bare.tobytes()


def test_pixels_of_small_images_stay_sharp():
    image = Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]] * 2, np.uint8))
    picture = np.asarray(draw_boxes(image, [], [], [], CLASSES, FONTS))
    assert picture.shape == (320, 320, 3) and (picture[:, :160] == 0).all() and (picture[:, 160:] == 255).all()


def test_frames_lie_on_the_edges_of_boxes():
    """A frame of 2 pixels inside the box, a line of 1 around either side, and nothing else but the tag above."""
    picture = draw((400, 400), [[100.2, 150.3, 299.8, 250.4]], [2])
    colour = where(picture, label_colour(2))
    frame = colour[150:250]
    assert extent(colour)[0] == 100 and extent(colour)[2:] == (300, 250)
    assert frame[50, 100:102].all() and frame[50, 298:300].all() and not frame[50, 102:298].any()
    assert frame[-2:, 110:290].all() and not frame[-3, 110:290].any() and frame[:2, 200:290].all()
    assert (np.asarray(picture)[160:240, 110:290] == GREY).all()
    untouched = where(picture, GREY)
    assert untouched[251:].all() and untouched[:, :99].all() and untouched[:, 301:].all()
    assert not untouched[200, 99] and not untouched[200, 102] and untouched[200, 103]
    assert untouched[:125].all() and not untouched[140, 105]  # the tag is above


def test_boxes_of_enlarged_images_are_enlarged():
    colour = where(draw((100, 100), [[20, 30, 60, 90]]), label_colour(0))
    assert extent(colour)[0] == 80 and extent(colour)[2:] == (240, 360)


def test_lines_and_tags_grow_with_the_image():
    small, large = (
        where(draw((side, side), [[0.2 * side, 0.4 * side, 0.8 * side, 0.8 * side]]), label_colour(0))
        for side in (500, 4000)
    )
    assert large.sum() == pytest.approx(64 * small.sum(), rel=0.25)


@pytest.mark.parametrize(
    "box", [[-50, -50, 30, 30], [380, 380, 500, 500], [-9, -9, 900, 900], [450, 10, 500, 20], [200, 200, 200, 200]]
)
def test_everything_stays_inside(box):
    """Also of boxes at the border, beyond it or without area; the whole tag can be read."""
    picture = draw((400, 400), [box])
    alone = draw((400, 400), [[100, 100, 200, 200]])
    text = [where(p, text_colour(label_colour(0))).sum() for p in (picture, alone)]
    assert text[0] == pytest.approx(text[1], rel=0.25)
    assert where(picture, label_colour(0)).sum() > 300


def test_tags_do_not_hide_each_other():
    """Twelve boxes at almost one place: each tag has its whole area but for letters and corners."""
    boxes = [[100 + number, 100 + number, 300 + number, 300 + number] for number in range(12)]
    together = draw((640, 480), boxes, range(3, 15))
    for number, box in enumerate(boxes):
        label = number + 3
        alone = draw((640, 480), [box], [label], [0.5])
        tag = where(alone, label_colour(label)).sum() - 2 * 4 * 200  # without the frame
        seen = where(together, label_colour(label)).sum()
        assert seen > 0.85 * tag, number


def test_better_ones_are_above():
    box = [100, 100, 300, 300]
    first, second = draw((400, 400), [box, box], [0, 1], [0.9, 0.3]), draw((400, 400), [box, box], [0, 1], [0.3, 0.9])
    for picture, above in ((first, 0), (second, 1)):
        assert picture.getpixel((200, 299)) == label_colour(above)
        assert picture.getpixel((101, 92)) == label_colour(above)  # the usual place of a tag


def test_score_and_label_are_written():
    pictures = [
        draw((400, 400), [[100, 100, 300, 300]], [label], [score], ["cat", "dog"]).tobytes()
        for label, score in ((0, 0.5), (1, 0.5), (0, 0.51), (0, 0.501))
    ]
    assert len(set(pictures)) == 3 and pictures[0] == pictures[3]


def test_long_labels_are_cut():
    """To a half of the image where the box is not longer, so that the score is always there."""
    picture = draw((400, 400), [[100, 100, 150, 300]], [0], [0.5], ["cat " * 100])
    left, _, right, _ = extent(where(picture, label_colour(0)))
    assert 150 < right - left < 260


@pytest.mark.parametrize("label", ["狗", "Bär", "line\nend", "\udcff", "🐈", "", "\x00", "كلب"])
def test_any_label(label):
    picture = draw_boxes(Image.new("RGB", (30, 30)), [[1, 2, 20, 20]], [0], [0.5], [label], find_fonts())
    assert picture.size == (330, 330)


def test_colours_of_labels_never_change():
    assert label_colour(0) == (0xD5, 0x5E, 0x00) and label_colour(5) == (0x00, 0x72, 0xB2)
    assert label_colour(10) == label_colour(10) == (255, 129, 13)
    one, two = draw((400, 400), [[100, 100, 300, 300]], [79]), draw((400, 400), [[9, 9, 50, 50]] * 2, [0, 79])
    assert where(one, label_colour(79)).any() and where(two, label_colour(79)).any()


def test_colours_of_eighty_labels_differ():
    colours = np.array([label_colour(label) for label in range(80)], float)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(80)
    assert distances.min() >= 15


DEFICIENCIES = {  # linear RGB as it looks to those who lack a kind of cones (Machado, Oliveira, Fernandes, 2009)
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_first_ten_can_be_told_apart(deficiency):
    """By CIE 1976's colour difference, of which 2.3 is just noticeable."""
    shares = np.array([label_colour(label) for label in range(len(PALETTE))]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(DEFICIENCIES[deficiency]), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratios = seen @ to_xyz.T / to_xyz.sum(axis=1)
    roots = np.where(ratios > 216 / 24389, np.cbrt(ratios), 841 / 108 * ratios + 4 / 29)
    lab = np.stack(
        (116 * roots[:, 1] - 16, 500 * (roots[:, 0] - roots[:, 1]), 200 * (roots[:, 1] - roots[:, 2])), axis=1
    )
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1000 * np.eye(len(lab))
    assert len(lab) == 10 and distances.min() > 15


@pytest.mark.parametrize("label", range(0, 100, 3))
def test_letters_have_contrast(label):
    """At least 4.5, which WCAG 2.1 asks for."""
    pair = sorted((luminance(label_colour(label)), luminance(text_colour(label_colour(label)))))
    assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "message"),
    [
        ([[1, 2, 3, 4]], [0, 1], [0.5], "^expected as many boxes as labels and scores, got 1, 2 and 1$"),
        ([[1, 2, 3, 4]], [0], [0.5, 0.4], "got 1, 1 and 2$"),
        ([1, 2, 3, 4], [0], [0.5], r"^expected boxes of four numbers each, x0 y0 x1 y1, got .* \(4,\)$"),
        ([[1, 2, 3]], [0], [0.5], r"got an array of shape \(1, 3\)$"),
        ([[1, 2, np.nan, 4]], [0], [0.5], "^expected boxes and scores that are finite"),
        ([[1, 2, 3, 4]], [0], [np.inf], "^expected boxes and scores that are finite"),
        ([[1, 2, 3, 4]], [80], [0.5], "^expected labels from 0 to 79, one for each class, got 80$"),
        ([[1, 2, 3, 4]], [-1], [0.5], "got -1$"),
    ],
)
def test_wrong_input(boxes, labels, scores, message):
    with pytest.raises(UserError, match=message):
        draw((400, 400), boxes, labels, scores)


def disc(size, x, y, radius):
    """A mask as a run-length code, and its box."""
    rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
    mask = np.hypot(columns - x, rows - y) < radius
    return encode(mask), extent(mask)


def test_masks_are_below_frames_and_tags():
    """Wherever a frame or tag is, the picture with the mask is that without it."""
    code, box = disc((400, 400), 200, 200, 80)
    bare, picture = draw((400, 400), [box], [2]), draw((400, 400), [box], [2], masks=[code])
    opaque = where(bare, label_colour(2)) | where(bare, text_colour(label_colour(2)))
    changed = (np.asarray(bare) != np.asarray(picture)).any(axis=2)
    assert opaque.sum() > 1000 and not changed[opaque].any() and changed.sum() > 0.9 * np.pi * 80**2


def test_masks_are_translucent_within_a_clear_border():
    code, box = disc((400, 400), 200, 200, 80)
    pixels = np.asarray(draw((400, 400), [box], [0], masks=[code])).astype(int)
    grey, colour = np.array(GREY), np.array(label_colour(0))
    inside = (pixels[200, 200] - grey) / (colour - grey)  # (3,)
    assert 0.25 < inside.min() and inside.max() < 0.55 and inside.max() - inside.min() < 0.02
    for angle in np.linspace(0.6, 0.97, 7):  # away from the frame
        x, y = np.cos(angle), np.sin(angle)
        border, beyond = (pixels[int(200 + r * y), int(200 + r * x)] for r in (78.5, 88))
        assert np.abs(border - colour).max() <= 12 and (beyond == grey).all()
        assert pixels[int(200 + 81 * y), int(200 + 81 * x)].sum() < grey.sum() - 30  # the thin line around


def test_masks_of_enlarged_images_are_enlarged():
    code, box = disc((100, 100), 30, 60, 20)
    picture = draw((100, 100), [box], [0], masks=[code])
    changed = (np.asarray(picture) != np.asarray(draw((100, 100), [box], [0]))).any(axis=2)
    low_x, low_y, high_x, high_y = extent(changed)
    assert abs(low_x - 40) <= 12 and abs(low_y - 160) <= 12 and abs(high_x - 200) <= 12 and abs(high_y - 320) <= 12


def test_masks_anywhere():
    """Empty, of one pixel, of a line, and of the whole image."""
    size = (400, 400)
    masks = np.zeros((4, *size), bool)
    masks[1, 399, 0] = masks[2, :, 200] = masks[3] = True
    for mask in masks:
        picture = draw(size, [[150, 150, 250, 250]], [0], masks=[encode(mask)])
        changed = (np.asarray(picture) != np.asarray(draw(size, [[150, 150, 250, 250]], [0]))).any(axis=2)
        assert changed.any() == mask.any() and changed.sum() >= 0.8 * mask.sum()
    assert draw(size, np.zeros((0, 4)), masks=[]).size == size


def test_of_two_masks_the_better_is_above():
    code, box = disc((400, 400), 200, 200, 80)
    for scores, above in (([0.9, 0.3], 0), ([0.3, 0.9], 1)):
        border = draw((400, 400), [box] * 2, [0, 1], scores, masks=[code] * 2).getpixel((255, 255))
        assert np.abs(np.array(border) - label_colour(above)).max() <= 12


def test_wrong_masks():
    code, box = disc((400, 300), 200, 200, 80)
    with pytest.raises(UserError, match="^expected a mask for each of 1 boxes, got 2$"):
        draw((400, 300), [box], masks=[code] * 2)
    with pytest.raises(UserError, match=r"^expected masks of 400 x 300 pixels \(height x width\), .*, got 300 x 400$"):
        draw((300, 400), [box], masks=[code])
