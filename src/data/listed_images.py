"""Images in one folder that a list names with their labels, as data sets with annotation files have them."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .labelled_files import LabelledFiles


class ListedImages(LabelledFiles):
    """The images of a list, in its order.

    Args:
        folder: where the images are.
        images: file names in `folder`.
        labels: label of each.
        classes: class names in label order.
        archive: the official archive that `folder` comes from, for the message when images are missing.

    Raises:
        UserError: no such folder, or images that it lacks. At reading: a broken image, by its name.
    """

    def __init__(
        self, folder: Path, images: Sequence[str], labels: Sequence[int], classes: Sequence[str], archive: str
    ) -> None:
        try:
            there = set(os.listdir(folder))
        except OSError as error:
            raise UserError(
                f"{folder} cannot be listed: {error.strerror}; expected the folder of images in {archive}: unpack it"
            ) from error
        if missing := [image for image in images if image not in there]:
            raise UserError(
                f"{folder} lacks {len(missing)} of the {len(images)} images of this split, the first is {missing[0]}; "
                f"{archive} has them: unpack it again"
            )
        super().__init__(folder, images, labels, classes)
