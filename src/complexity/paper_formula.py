"""What the TNT paper says a TNT costs, term by term beside what is counted, and where the difference comes from.

Letters, as in the paper: n sentences, m words a sentence, c and d the widths of words and sentences. Besides: b blocks,
i of them with an inner transformer, k classes.

A plain block costs 2nd(6d + n) multiply-adds and has 12d^2 weights. Attention takes 4nd^2 + 2n^2 d of them: nd^2 for
each of the projections to queries, keys, values and output, n^2 d for each of the products q k^T and weights times v.
The MLP takes 8nd^2. The inner transformer, the same over words, and the projection of words to sentences add
2nmc(6c + m) + nmcd multiply-adds and 12c^2 + mcd weights. The paper leaves out class token, first projection, stem,
head, biases, norms and tables.

Source: TNT paper (arXiv 2103.00112v3), section 2.3.
"""

import re
from dataclasses import dataclass

from ..models.tnt import TNT
from .count import count


@dataclass(frozen=True)
class Term:
    """One line of the comparison; `counted` is `paper` + `added`, to the integer.

    Attributes:
        part: what costs.
        formula: the paper's closed form; "" where it has none.
        paper: its value.
        counted: what the built network has.
        reason: why that is more, with a closed form; "" where it is not.
        added: the value of that closed form.
    """

    part: str
    formula: str
    paper: int
    counted: int
    reason: str
    added: int


@dataclass(frozen=True)
class Comparison:
    """The paper's closed forms and the counts of one network.

    Attributes:
        letters: the sizes behind the letters, in the order n, m, c, d, b, i, k.
        multiply_adds, parameters: the terms.
    """

    letters: dict[str, int]
    multiply_adds: list[Term]
    parameters: list[Term]


@dataclass(frozen=True)
class BlockCost:
    """One block by the paper's closed forms.

    Attributes:
        plain_multiply_adds, tnt_multiply_adds: without and with inner transformer.
        plain_parameters, tnt_parameters: the same of weights.
        output_projection: multiply-adds of the plain block's attention output, nd^2.
    """

    plain_multiply_adds: int
    tnt_multiply_adds: int
    plain_parameters: int
    tnt_parameters: int
    output_projection: int

    @property
    def without_output_projection(self) -> int:
        """What a walk-through of the paper finds for the plain block, 2nd(5.5d + n)."""
        return self.plain_multiply_adds - self.output_projection


def block_cost(n: int, m: int, c: int, d: int) -> BlockCost:
    """The paper's closed forms for one block of n sentences of m words, of widths d and c."""
    plain, weights = 2 * n * d * (6 * d + n), 12 * d * d
    return BlockCost(
        plain_multiply_adds=plain,
        tnt_multiply_adds=plain + 2 * n * m * c * (6 * c + m) + n * m * c * d,
        plain_parameters=weights,
        tnt_parameters=weights + 12 * c * c + m * c * d,
        output_projection=n * d * d,
    )


def compare(net: TNT) -> Comparison:
    """Compares a TNT for images of three channels with the paper's closed forms.

    Raises:
        NotImplementedError: a count that the closed forms here do not explain, as of a network with biases of queries
            or with squeeze-and-excitation, which no published variant by name has.
    """
    letters = {
        "n": net.num_patches,
        "m": net.num_words,
        "c": net.inner_pos.shape[2],
        "d": net.outer_pos.shape[2],
        "b": len(net.blocks),
        "i": sum(block.has_inner for block in net.blocks),
        "k": net.num_classes,
    }
    counted = count(net).multiply_adds
    multiply_adds = _terms(_multiply_add_terms(**letters), counted)
    parameters = _terms(_parameter_terms(**letters), _parameters_by_part(net))
    return Comparison(letters, multiply_adds, parameters)


def _terms(rows: list[tuple[str, str, int, str, int]], counted: dict[str, int]) -> list[Term]:
    """Joins (part, formula, paper, reason, added) with the counts."""
    terms = [
        Term(part, formula, paper, counted.get(part, 0), reason, added) for part, formula, paper, reason, added in rows
    ]
    wrong = [term.part for term in terms if term.counted != term.paper + term.added]
    wrong += [part for part in counted if part not in {term.part for term in terms}]
    if wrong:
        raise NotImplementedError(
            f"the closed forms of src/complexity/paper_formula.py do not explain {', '.join(wrong)}"
        )
    return terms


def _multiply_add_terms(n: int, m: int, c: int, d: int, b: int, i: int, k: int) -> list[tuple[str, str, int, str, int]]:
    return [
        ("stem", "", 0, "7 x 7 convolution of 3 channels: 147nmc", 147 * n * m * c),
        ("inner attention", "i(4nmc² + 2nm²c)", i * (4 * n * m * c**2 + 2 * n * m**2 * c), "", 0),
        ("inner MLP", "8inmc²", 8 * i * n * m * c**2, "", 0),
        ("word-to-sentence", "inmcd", i * n * m * c * d, "first projection, before the blocks: nmcd", n * m * c * d),
        (
            "outer attention",
            "b(4nd² + 2n²d)",
            b * (4 * n * d**2 + 2 * n**2 * d),
            "class token: b(4d² + 2d(2n + 1))",
            b * (4 * d**2 + 2 * d * (2 * n + 1)),
        ),
        ("outer MLP", "8bnd²", 8 * b * n * d**2, "class token: 8bd²", 8 * b * d**2),
        ("head", "", 0, "linear layer: dk", d * k),
    ]


def _parameter_terms(n: int, m: int, c: int, d: int, b: int, i: int, k: int) -> list[tuple[str, str, int, str, int]]:
    return [
        ("stem", "", 0, "convolution and its bias: 148c", 148 * c),
        ("inner transformer", "12ic²", 12 * i * c**2, "biases and norms: 10ic", 10 * i * c),
        (
            "word-to-sentence",
            "imcd",
            i * m * c * d,
            "norms: i(2mc + 2d); first projection: mcd + 2mc + 3d",
            i * (2 * m * c + 2 * d) + m * c * d + 2 * m * c + 3 * d,
        ),
        ("outer transformer", "12bd²", 12 * b * d**2, "biases and norms: 10bd", 10 * b * d),
        ("class token", "", 0, "d", d),
        ("position tables", "", 0, "sentences: (n + 1)d; words: mc", (n + 1) * d + m * c),
        ("unused table", "", 0, "frozen, in the authors' files: nd", n * d),
        ("final norm", "", 0, "2d", 2 * d),
        ("head", "", 0, "dk + k", d * k + k),
    ]


_PARTS_OF_PARAMETERS = {
    r"patch_embed\.": "stem",
    r"blocks\.\d+\.inner_": "inner transformer",
    r"(blocks\.\d+\.)?proj(_norm\d)?\.": "word-to-sentence",
    r"blocks\.\d+\.outer_": "outer transformer",
    r"cls_token": "class token",
    r"(outer|inner)_pos": "position tables",
    r"outer_tokens": "unused table",
    r"norm\.": "final norm",
    r"head\.": "head",
}


def _parameters_by_part(net: TNT) -> dict[str, int]:
    counted: dict[str, int] = {}
    for name, p in net.parameters_and_names():
        part = next((part for pattern, part in _PARTS_OF_PARAMETERS.items() if re.match(pattern, name)), name)
        counted[part] = counted.get(part, 0) + p.size
    return counted
