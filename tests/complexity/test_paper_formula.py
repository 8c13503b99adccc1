"""The TNT paper's closed forms: its own example, and every term beside the count."""

import pytest
from mindspore.nn.utils import no_init_parameters

from src.complexity.count import count, create_unfilled_model
from src.complexity.paper_formula import block_cost, compare
from src.models import create_model, list_models

VARIANTS = list_models("tnt_*")


def test_the_papers_example():
    block = block_cost(n=196, m=16, c=24, d=384)
    assert block.plain_multiply_adds == 376_320_000
    assert block.tnt_multiply_adds == 429_305_856
    assert block.plain_parameters == 1_769_472
    assert block.tnt_parameters == 1_923_840
    assert round(block.tnt_multiply_adds / block.plain_multiply_adds, 3) == 1.141
    assert round(block.tnt_parameters / block.plain_parameters, 3) == 1.087


def test_what_the_walk_through_forgets():
    block = block_cost(n=196, m=16, c=24, d=384)
    assert block.output_projection == 196 * 384 * 384
    assert block.without_output_projection == 347_418_624 == int(2 * 196 * 384 * (5.5 * 384 + 196))


def test_a_block_of_ones():
    """2 (6 + 1) plain, 2 (6 + 1) + 1 more with words."""
    block = block_cost(1, 1, 1, 1)
    assert (block.plain_multiply_adds, block.tnt_multiply_adds) == (14, 29)
    assert (block.plain_parameters, block.tnt_parameters) == (12, 25)


@pytest.mark.parametrize("size,classes", [(None, 1000), ((160, 96), 7), ((384, 384), 0)])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_difference_is_explained(name, size, classes):
    net = create_unfilled_model(name, size, classes)
    complexity, comparison = count(net), compare(net)
    for terms, total in (
        (comparison.multiply_adds, complexity.total),
        (comparison.parameters, complexity.parameters),
    ):
        assert sum(term.counted for term in terms) == total
        assert all(term.paper + term.added == term.counted for term in terms)
        assert all(bool(term.formula) == bool(term.paper) for term in terms)
        assert all(term.reason or not term.added for term in terms)


def test_terms_of_tnt_s():
    comparison = compare(create_unfilled_model("tnt_s_patch16_224"))
    assert comparison.letters == {"n": 196, "m": 16, "c": 24, "d": 384, "b": 12, "i": 12, "k": 1000}
    terms = {term.part: (term.paper, term.added) for term in comparison.multiply_adds}
    assert terms == {
        "stem": (0, 11_063_808),
        "inner attention": (115_605_504, 0),
        "inner MLP": (173_408_256, 0),
        "word-to-sentence": (346_816_512, 28_901_376),
        "outer attention": (1_741_307_904, 10_699_776),
        "outer MLP": (2_774_532_096, 14_155_776),
        "head": (0, 384_000),
    }
    assert sum(paper for paper, _ in terms.values()) == 12 * 429_305_856


def test_what_is_not_explained_is_refused():
    with no_init_parameters():
        net = create_model("tnt_s_patch16_224", image_size=32, depth=1, qkv_bias=True)
    with pytest.raises(NotImplementedError, match="do not explain inner transformer, outer transformer$"):
        compare(net)
    with no_init_parameters():
        net = create_model("tnt_s_patch16_224", image_size=32, depth=1, se=True)
    with pytest.raises(NotImplementedError, match="do not explain squeeze-and-excitation$"):
        compare(net)
