"""Every variant at another image size and number of classes, against closed formulas written from the papers' sizes."""

import pytest

from src.complexity.count import count, create_unfilled_model
from src.models import list_models
from tests.complexity.test_count import PYRAMID_TNT, T2T_VIT, TNT

NATIVE = {name: totals for name, arguments, totals, _ in (*TNT, *PYRAMID_TNT, *T2T_VIT) if not arguments}
HEIGHT, WIDTH, CLASSES = 320, 192, 10

# blocks, blocks with words, c, d
TNT_SIZES = {
    "tnt_ti_patch16_224": (12, 12, 12, 192),
    "tnt_s_patch16_224": (12, 12, 24, 384),
    "tnt_b_patch16_224": (12, 12, 40, 640),
    "tnt_s_1_patch16_224": (12, 4, 24, 384),
    "tnt_s_2_patch16_224": (12, 3, 24, 384),
    "tnt_s_3_patch16_224": (12, 2, 24, 384),
    "tnt_s_4_patch16_224": (12, 1, 24, 384),
}
# side, and for each stage: blocks, blocks with words, c, d, heads, side of the squares that are averaged to a key
PYRAMID_TNT_SIZES = {
    "ptnt_ti_patch16_192": (
        192,
        [(2, 1, 5, 80, 2, 4), (6, 1, 10, 160, 4, 2), (3, 1, 20, 320, 8, 1), (2, 1, 20, 320, 8, 1)],
    ),
    "ptnt_s_patch16_256": (
        256,
        [(2, 1, 8, 128, 4, 4), (8, 2, 16, 256, 8, 2), (4, 1, 32, 512, 16, 1), (2, 1, 32, 512, 16, 1)],
    ),
    "ptnt_m_patch16_256": (
        256,
        [(2, 1, 12, 192, 4, 4), (8, 2, 24, 384, 8, 2), (6, 1, 48, 768, 16, 1), (2, 1, 48, 768, 16, 1)],
    ),
    "ptnt_b_patch16_256": (
        256,
        [(2, 1, 16, 256, 4, 4), (10, 2, 32, 512, 8, 2), (6, 1, 64, 1024, 16, 1), (2, 1, 64, 1024, 16, 1)],
    ),
}
# token layer, blocks, d, hidden width of the MLP as a multiple of d
T2T_VIT_SIZES = {
    "t2t_vit_7": ("performer", 7, 256, 2),
    "t2t_vit_10": ("performer", 10, 256, 2),
    "t2t_vit_12": ("performer", 12, 256, 2),
    "t2t_vit_14": ("performer", 14, 384, 3),
    "t2t_vit_19": ("performer", 19, 448, 3),
    "t2t_vit_24": ("performer", 24, 512, 3),
    "t2t_vit_t_14": ("transformer", 14, 384, 3),
    "t2t_vit_t_19": ("transformer", 19, 448, 3),
    "t2t_vit_t_24": ("transformer", 24, 512, 3),
    "t2t_vit_c_14": ("convolution", 14, 384, 3),
    "t2t_vit_14_resnext": ("performer", 14, 384, 3),
    "t2t_vit_14_wide": ("performer", 4, 768, 3),
    "t2t_vit_14_se": ("performer", 14, 384, 3),
    "t2t_vit_16_ghost": ("performer", 16, 384, 3),
    "t2t_vit_dense": ("performer", 19, 128, 2),
}


def tnt(name: str, h: int, w: int, k: int) -> tuple[int, int, int]:
    """Multiply-adds; the parameters that depend on image size and classes; the frozen ones of these."""
    b, i, c, d = TNT_SIZES[name]
    n, m = h * w // 256, 16
    tokens = n + 1
    inner = n * m * 12 * c**2 + 2 * n * m**2 * c
    outer = tokens * 12 * d**2 + 2 * tokens**2 * d
    macs = n * m * 147 * c + (i + 1) * n * m * c * d + i * inner + b * outer + d * k
    return macs, 2 * n * d + d * k + k, n * d


def pyramid_tnt(name: str, h: int, w: int, k: int) -> tuple[int, int, int]:
    _, stages = PYRAMID_TNT_SIZES[name]
    (_, _, c, d, _, _), words = stages[0], 16
    macs = h * w // 4 * 9 * (3 * 2 * c + 2 * c * c) + h * w // 16 * 9 * 2 * c * 4 * c
    macs += h * w // 64 * 9 * (4 * c * 8 * c + 8 * c * d)
    sized = h * w // 64 * d
    rows, columns = h // 8, w // 8
    for index, (b, i, c, d, heads, ratio) in enumerate(stages):
        if index:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
            _, _, old_c, old_d, *_ = stages[index - 1]
            macs += rows * columns * 9 * (words * old_c * c + old_d * d)
        n, keys = rows * columns, rows * columns // ratio**2
        inner = n * words * 12 * c**2 + 2 * n * words**2 * c + n * words * c * d
        reduction = keys * d**2 if ratio > 1 else 0
        outer = 2 * n * d**2 + 2 * keys * d**2 + reduction + 2 * n * keys * d + 8 * n * d**2
        macs += i * inner + b * outer
        sized += heads * n * keys
    return macs + d * k, sized + d * k + k, 0


def t2t_vit(name: str, h: int, w: int, k: int) -> tuple[int, int, int]:
    kind, b, d, ratio = T2T_VIT_SIZES[name]
    n1, n2, n = h * w // 16, h * w // 64, h * w // 256
    c, features, tokens = 64, 32, n + 1
    macs = n * 9 * c * d
    if kind == "convolution":
        macs += n1 * 147 * c + n2 * 9 * c * c
    elif kind == "transformer":
        macs += sum(t * (3 * e * c + 3 * c * c) + 2 * t * t * c for t, e in ((n1, 147), (n2, 9 * c)))
    else:
        performer = 3 * c * c + 2 * features * c + features * (2 * c + 1)
        macs += sum(t * (3 * e * c + performer) for t, e in ((n1, 147), (n2, 9 * c)))
    table = n * d
    if name == "t2t_vit_dense":
        for stage, blocks in enumerate((3, 6, 6, 4)):
            if stage:
                macs += tokens * d * (d // 2)
                d //= 2
            for _ in range(blocks):
                macs += tokens * (4 + 2 * ratio) * d**2 + 2 * tokens**2 * d + tokens * d * 64
                d += 64
    elif name == "t2t_vit_16_ghost":
        weights = 3 * (d * d // 2 + d // 2) + d * d + 4 * d * d + 2 * d
        macs += b * (tokens * weights + 2 * tokens**2 * d)
    else:
        macs += b * (tokens * (4 + 2 * ratio) * d**2 + 2 * tokens**2 * d)
    if name == "t2t_vit_14_se":
        macs += b * 2 * d * (d // 16)
    return macs + d * k, table + d * k + k, table


def formula(name: str):
    return {"tnt": tnt, "ptnt": pyramid_tnt, "t2t": t2t_vit}[name.split("_")[0]]


def test_every_variant_has_a_stored_count():
    assert sorted(NATIVE) == sorted(list_models())


@pytest.mark.parametrize("name", list_models())
def test_another_size_and_number_of_classes(name):
    side = PYRAMID_TNT_SIZES[name][0] if name in PYRAMID_TNT_SIZES else 224
    old_macs, old_sized, old_frozen = formula(name)(name, side, side, 1000)
    macs, sized, frozen = formula(name)(name, HEIGHT, WIDTH, CLASSES)
    parameters, trainable, total = NATIVE[name]
    assert old_macs == total
    complexity = count(create_unfilled_model(name, (HEIGHT, WIDTH), CLASSES))
    assert complexity.total == macs
    assert complexity.parameters == parameters - old_sized + sized
    assert complexity.trainable == trainable - (old_sized - old_frozen) + (sized - frozen)


def test_without_head():
    complexity = count(create_unfilled_model("tnt_s_patch16_224", num_classes=0))
    assert "head" not in complexity.multiply_adds
    assert complexity.total == 5_216_875_008 - 384_000 and complexity.parameters == 23_843_848 - 385_000
