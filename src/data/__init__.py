"""Images on their way to the network: sources, transforms and loaders. NumPy and Pillow only, no MindSpore.

A source is anything with `len(source)`, `source[index] -> (RGB Pillow image, int label)`, `source.label(index)` and
`source.classes` (names in label order).
"""

from src.data.digits import Digits
from src.data.image_folder import ImageFolder
from src.errors import UserError


def open_dataset(source: str, root: str | None, split: str) -> Digits | ImageFolder:
    """Opens one split of a data set.

    Args:
        source: 'digits' (embedded in scikit-learn) or 'folder' (ImageNet layout).
        root: the folder that holds train/ and val/; for 'folder' only.
        split: 'train' or 'val'.

    Raises:
        UserError: unknown source, a root where none belongs, no root where one is needed, or the source's own errors.
    """
    if source == "digits":
        if root is not None:
            raise UserError(
                f"data source 'digits' is embedded and takes no folder, but got {root!r}; "
                "use source 'folder' to read that folder, or leave the folder out"
            )
        return Digits(split)
    if source == "folder":
        if root is None:
            raise UserError("data source 'folder' needs the folder that holds train/ and val/, but none was given")
        return ImageFolder(root, split)
    raise UserError(f"unknown data source {source!r}: expected 'digits' or 'folder'")
