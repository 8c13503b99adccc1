"""TNT weights of timm (huggingface/pytorch-image-models, timm/models/tnt.py) by the authors' names.

timm has two networks of this name. The one since May 2025 (its pull request 2480) is the authors' with other names; it
has no `outer_tokens`, which nothing uses, and a word table (1, C, 4, 4). The older one, now `tnt_s_legacy_patch16_224`,
is another function: it convolves the whole image before it cuts patches, and its blocks normalise words one by one,
project them with a bias, and do not normalise the result.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt

import numpy as np

from ..errors import UserError

# Parts of a name between dots. The authors' names are the other side of timm's `checkpoint_filter_fn`.
_PARTS = {
    "patch_pos": "outer_pos",
    "pixel_pos": "inner_pos",
    "pixel_embed": "patch_embed",
    "norm1_proj": "proj_norm1",
    "norm2_proj": "proj_norm2",
    "norm_in": "inner_norm1",
    "attn_in": "inner_attn",
    "norm_mlp_in": "inner_norm2",
    "mlp_in": "inner_mlp",
    "norm_out": "outer_norm1",
    "attn_out": "outer_attn",
    "norm_mlp": "outer_norm2",
    "mlp": "outer_mlp",
}


_MAX_NAME = 200  # characters of an array's name


@dataclass(frozen=True)
class AuthorNamed:
    """Arrays by the authors' names, whoever wrote their file.

    Attributes:
        weights: the authors' name -> array.
        file_names: the authors' name -> the name in the file, for every array of it; they differ in timm's files.
        absent: the authors' name -> why it need not be in the file; in `weights` as it then is.
    """

    weights: dict[str, np.ndarray]
    file_names: dict[str, str]
    absent: dict[str, str] = field(default_factory=dict)


def by_author_names(weights: Mapping[str, np.ndarray]) -> AuthorNamed:
    """What a file holds, the authors' or timm's.

    Raises:
        UserError: what cannot be a parameter's name, an array without elements, or as `from_timm` does.
    """
    for name, array in weights.items():
        if not name.isprintable() or len(name) > _MAX_NAME:
            raise UserError(f"expected names of parameters, got {name[:40]!r}")
        if array.size == 0:
            raise UserError(f"{name} of shape {array.shape} has no elements; get the file again")
    if not is_timm(weights):
        return AuthorNamed(dict(weights), {name: name for name in weights})
    renamed, file_names = from_timm(weights)
    absent, table = {}, renamed.get("outer_pos")
    if "outer_tokens" not in renamed and table is not None and table.ndim == 3:
        renamed["outer_tokens"] = np.zeros((1, table.shape[1] - 1, table.shape[2]), np.float32)
        absent["outer_tokens"] = "stays zero, nothing uses it; timm's files leave it out"
    return AuthorNamed(renamed, file_names, absent)


def is_timm(weights: Mapping[str, np.ndarray]) -> bool:
    """Whether names are those of timm's TNT."""
    return "patch_pos" in weights or "pixel_pos" in weights


def from_timm(weights: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The weights by the authors' names, and timm's name of each.

    Raises:
        UserError: they are of timm's legacy TNT, or have names of both kinds.
    """
    if any(re.fullmatch(r"blocks\.\d+\.proj\.bias", name) for name in weights):
        raise UserError(
            "these are weights of timm's legacy TNT (tnt_s_legacy_patch16_224, and every TNT of timm before May 2025), "
            "which computes another function: it convolves the whole image before cutting patches, and projects words "
            "with another norm and a bias; take the authors' file or a newer tnt_s_patch16_224 of timm"
        )
    names = {".".join(_PARTS.get(part, part) for part in name.split(".")): name for name in weights}
    if len(names) < len(weights):
        raise UserError("names of timm's TNT and the authors' are mixed: expected one of the two kinds")
    renamed = {ours: weights[theirs] for ours, theirs in names.items()}
    words = renamed.get("inner_pos")
    if words is not None and words.ndim == 4:  # 1 C 4 4
        renamed["inner_pos"] = words.reshape(*words.shape[:2], -1).swapaxes(1, 2)  # 1 M C
    return renamed, names


def to_timm(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The authors' weights of TNT by timm's names, what `timm.create_model("tnt_s_patch16_224")` takes; bit for bit.

    `outer_tokens`, which nothing uses, is left out, as in timm's own files.

    Raises:
        UserError: a TNT with squeeze-and-excitation or with plain blocks, or another network; timm does not have them.
    """
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    if not weights.keys() >= {"inner_pos", "outer_pos", "patch_embed.proj.weight"}:
        raise UserError("timm has TNT only; leave --names out, which writes the authors' names")
    if any(".se_layer." in name for name in weights) or any(
        f"blocks.{block}.inner_norm1.weight" not in weights for block in blocks
    ):
        raise UserError(
            "timm has no TNT with squeeze-and-excitation or with blocks that lack the inner transformer; leave --names "
            "out, which writes the authors' names"
        )
    parts = {ours: theirs for theirs, ours in _PARTS.items()}
    named = {
        ".".join(parts.get(part, part) for part in name.split(".")): array
        for name, array in weights.items()
        if name != "outer_tokens"
    }
    words = named["pixel_pos"]  # 1 M C
    side = isqrt(words.shape[1])
    named["pixel_pos"] = np.ascontiguousarray(words.swapaxes(1, 2)).reshape(1, words.shape[2], side, side)
    return named
