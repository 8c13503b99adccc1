"""Images of one set divided into training and validation (`data.val_split`), class by class.

Which images validate is a function of the seed and of their names alone: of neither the machine, the time nor the place
of the folder. A class's images are ordered by SHA-256 of seed and name; the first of them, its share, validate.

What divided the images travels in checkpoints, so that a network is never judged on what it was trained on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UserError, counted, printable, shown
from ..rule import is_number
from .fingerprint import fingerprint
from .labels import named, one_spelling


@dataclass(frozen=True)
class Division:
    """What decided on which side each image is.

    Attributes:
        val_split: share of each class that validates.
        seed: of the run.
        images: digest of the names of all images, of both sides.

    Raises:
        ValueError: a value is of another kind.
    """

    val_split: float
    seed: int
    images: str

    def __post_init__(self) -> None:
        if not (is_number(self.val_split) and type(self.seed) is int and isinstance(self.images, str)):
            raise ValueError(f"expected a share, a seed and a digest, got {shown(asdict(self))}")


@dataclass(frozen=True)
class ValSplit:
    """How images are divided.

    Attributes:
        share: of each class that validates, above 0 and below 1.
        seed: another one takes other images.
    """

    share: float
    seed: int

    def divide(self, files_of: Mapping[str, Sequence[str]], where: object) -> tuple[set[str], Division]:
        """The files that validate, and what says so.

        Of n files of a class round(n * share) validate (a half is rounded up), at least 1 and at most n - 1.

        Args:
            files_of: class -> its files, by names that are the same wherever the data lies.
            where: names the data in messages.

        Raises:
            UserError: classes of one image, by name.
        """
        if single := [printable(name) for name, files in files_of.items() if len(files) == 1]:
            raise UserError(
                f"{where} has {counted(len(single), 'class', 'classes')} of one image: {named(single)}; expected at "
                "least two, for data.val_split divides each class into training and validation: add images, or leave "
                "the class out"
            )
        chosen: set[str] = set()
        for files in files_of.values():
            count = min(max(int(len(files) * self.share + 0.5), 1), len(files) - 1)
            chosen.update(sorted(files, key=self._place)[:count])
        names = sorted(one_spelling(file) for files in files_of.values() for file in files)
        return chosen, Division(self.share, self.seed, fingerprint(names, ()))

    def _place(self, file: str) -> bytes:
        text = f"{self.seed}\0{one_spelling(file)}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def trained_on(progress: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint says about the division of its training images.

    Args:
        progress: of the checkpoint.

    Returns:
        The values of a `Division`; none where its images were not divided; None where it says nothing about training.
    """
    return progress.get("training_data", {} if "step" in progress else None)


def check_same_division(trained: Mapping[str, Any] | None, here: Division | None, path: object) -> list[str]:
    """Whether a network may be judged on the validation side of divided images.

    Args:
        trained: see `trained_on`.
        here: what divides the images; None where nothing does.
        path: of the checkpoint, for messages.

    Returns:
        What a user should know, as lines.

    Raises:
        UserError: its training images were divided otherwise or not at all, so that it may have seen those that
            validate.
    """
    if here is None or trained == asdict(here):
        return []
    otherwise = "evaluate on images that it has not seen, as DIR/val/CLASS/image.jpg without data.val_split"
    if trained is None:
        return [f"{path} does not say what it was trained on: if on these images, its scores mean nothing"]
    if not trained:
        raise UserError(
            f"{path} was trained without data.val_split, which is {here.val_split} here: it may have been trained on "
            f"the images that this takes for validation; {otherwise}"
        )
    if (trained.get("val_split"), trained.get("seed")) != (here.val_split, here.seed):
        then = f"--data.val_split {shown(trained.get('val_split'))} --seed {shown(trained.get('seed'))}"
        raise UserError(
            f"{path} was trained with {then}, here they are {here.val_split} and {here.seed}: it would be judged on "
            f"images that it was trained on; give {then}"
        )
    raise UserError(
        f"{path} was trained on a part of other images than data.val_split divides here (images were added, removed or "
        f"renamed, or data.classes chooses others): it may have been trained on some that validate now; {otherwise}, "
        "or restore the images"
    )


def check_start(trained: Mapping[str, Any] | None, here: Division | None, path: object) -> None:
    """Raises UserError where training would start from weights that were trained on what now validates.

    Args:
        trained, here, path: as in `check_same_division`.
    """
    if here is not None and trained and trained != asdict(here) and trained.get("images") == here.images:
        check_same_division(trained, here, path)
