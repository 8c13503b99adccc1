"""What is compiled for GPU: small networks with the layers of the published ones in every way they are used, and the
training step of every recipe in config/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from src.config import Config, load_config
from src.errors import UserError, nearest

RECIPES = Path(__file__).resolve().parents[2] / "config"
FOLDERS = {
    "classification": "ImageNet-1k",
    "transfer": "Transfer",
    "demo": "Demos",
    "detection": "COCO",
}
"""Of recipes, and what they are for."""

BATCH_SIZE = 2

REFUSED = "refused"
"""What the process of a case says, and before the reason."""


@dataclass(frozen=True)
class Subject:
    """A network.

    Attributes:
        title: for people.
        demo: the configuration in config/demo that it is from.
        model: what differs in its section `model`.
        is_detector: whether it gives boxes.
    """

    title: str
    demo: str
    model: Mapping[str, Any]
    is_detector: bool = False


SUBJECTS = {
    "tnt": Subject("TNT", "tnt_digits", {}),
    "tnt_se": Subject("TNT, SE", "tnt_digits", {"se": True}),
    "ptnt": Subject("PyramidTNT", "ptnt_digits", {}),
    "ptnt_se": Subject("PyramidTNT, SE", "ptnt_digits", {"se": True}),
    "t2t_vit": Subject("T2T-ViT", "t2t_digits", {}),
    "t2t_vit_t": Subject("T2T-ViT_t", "t2t_digits", {"name": "t2t_vit_t_14"}),
    "retinanet": Subject("RetinaNet", "retinanet_scenes", {}, is_detector=True),
    "mask_rcnn": Subject("Mask R-CNN", "mask_rcnn_scenes", {}, is_detector=True),
    "cascade_mask_rcnn": Subject("Cascade Mask R-CNN", "cascade_mask_rcnn_scenes", {}, is_detector=True),
}

_HALF = {"train.precision": "float16"}
_EVERYTHING = {
    "model.drop_path_rate": 0.1,
    "optimizer.clip_norm": 1.0,
    "train.accumulate": 2,
    "train.ema_decay": 0.99,
    "train.ema_warmup": True,
}
_OF_CLASSIFIERS = {"model.drop_rate": 0.1, "model.attn_drop_rate": 0.1, "data.mixup": 0.8}

TRAINING: dict[str, dict[str, Any]] = {
    "training": {},
    "training_float16": _HALF,
    "everything": _EVERYTHING,
    "everything_float16": _EVERYTHING | _HALF,
    "recompute": {"train.recompute": True},
    "sgd": {"optimizer.name": "sgd"},
}
"""Kind of a training step, and what it changes in the demo's configuration."""

INFERENCE = {"forward": "float32", "forward_float16": "float16"}
"""Kind of predictions, and their precision."""

FILES = {
    "mindir": ("float32", 1),
    "mindir_float16": ("float16", 1),
    "mindir_any_batch": ("float32", None),
    "mindir_any_batch_float16": ("float16", None),
}
"""Kind of an exported file, its precision and the batch size that it takes, None for any."""

RECIPE: dict[str, dict[str, Any]] = {"recipe": {}, "recipe_float16": _HALF}
IN_HALF = ("classification",)
"""Folders of recipes whose authors train in mixed precision."""

KINDS = (*INFERENCE, *TRAINING, *FILES)
OF_DETECTORS = ("forward", *TRAINING, "mindir")
"""They predict, and are exported, in float32, and for one batch size."""


@dataclass(frozen=True)
class Case:
    """A graph to compile.

    Attributes:
        subject: of `SUBJECTS`, or a recipe: 'classification/tnt_s_patch16_224'.
        kind: of `KINDS`, or of `RECIPE`.
    """

    subject: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.kind}"

    @property
    def is_recipe(self) -> bool:
        return self.kind in RECIPE

    def config(self) -> Config:
        """The configuration, for two images a step."""
        if self.is_recipe:
            config, changes = load_config(RECIPES / f"{self.subject}.yaml"), RECIPE[self.kind]
        else:
            subject = SUBJECTS[self.subject]
            config, changes = load_config(RECIPES / f"demo/{subject.demo}.yaml"), TRAINING.get(self.kind, {})
            vars(config.model).update(subject.model)
            if self.kind.startswith("everything") and not subject.is_detector:
                changes = changes | _OF_CLASSIFIERS
        config.train.batch_size = BATCH_SIZE
        for key, value in changes.items():
            section, name = key.split(".")
            setattr(getattr(config, section), name, value)
        return config


def all_cases() -> dict[str, Case]:
    """Every case by its name: the networks', then the recipes'."""
    cases = [
        Case(name, kind)
        for name, subject in SUBJECTS.items()
        for kind in KINDS
        if not subject.is_detector or kind in OF_DETECTORS
    ]
    for folder in FOLDERS:
        for path in sorted((RECIPES / folder).glob("*.yaml")):
            kinds = RECIPE if folder in IN_HALF else ("recipe",)
            cases += [Case(f"{folder}/{path.stem}", kind) for kind in kinds]
    return {case.name: case for case in cases}


def choose(patterns: Sequence[str]) -> list[Case]:
    """The cases whose names match a pattern of the shell, in their usual order; all where there is no pattern.

    Raises:
        UserError: a pattern that no name matches.
    """
    cases = all_cases()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in cases):
            raise UserError(f"no case is called {pattern!r}; {nearest(pattern, cases)}; see --list")
    return [case for name, case in cases.items() if not patterns or any(fnmatchcase(name, p) for p in patterns)]
