"""Flowers-102: 102 British flowers, 2,040 training and 6,149 validation images.

Source: M.-E. Nilsback, A. Zisserman, "Automated flower classification over a large number of classes", ICVGIP 2008.
As 102flowers.tgz unpacks, with two MATLAB files beside: ROOT/jpg/image_00001.jpg to image_08189.jpg,
ROOT/imagelabels.mat (the class of each image, 1 to 102) and ROOT/setid.mat (image numbers of three sets). Training uses
the sets 'trnid' and 'valid' together, validation 'tstid', as papers on transfer learning do. The archive has no class
names: the classes are "1" to "102", the numbers in imagelabels.mat.
"""

from pathlib import Path

from ..errors import UserError
from .listed_images import ListedImages

NUM_CLASSES = 102
SETS = {"train": ("trnid", "valid"), "val": ("tstid",)}
LAYOUT = "expected ROOT/jpg/, as 102flowers.tgz unpacks, and beside it imagelabels.mat and setid.mat"
LABELS = "'labels', 8,189 numbers from 1 to 102"
SET_SIZES = "'trnid', 'valid' and 'tstid', 1,020, 1,020 and 6,149 image numbers"


class Flowers102(ListedImages):
    """One split, in the order of its sets.

    Args:
        root: folder that holds jpg/, imagelabels.mat and setid.mat.
        split: 'train' or 'val'.

    Raises:
        UserError: another split; a file that is missing or damaged, or whose images are missing. At reading: a broken
            image, by its name.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in SETS:
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        root = Path(root)
        if not root.is_dir():
            raise UserError(f"data folder {root} does not exist or is no folder; {LAYOUT}")
        labels = _read_numbers(root / "imagelabels.mat", ("labels",), NUM_CLASSES, LABELS)
        images = _read_numbers(root / "setid.mat", SETS[split], len(labels), SET_SIZES)
        super().__init__(
            root / "jpg",
            [f"image_{number:05d}.jpg" for number in images],
            [labels[number - 1] - 1 for number in images],
            [str(number) for number in range(1, NUM_CLASSES + 1)],
            "102flowers.tgz",
        )


def _read_numbers(path: Path, variables: tuple[str, ...], largest: int, official: str) -> list[int]:
    """The numbers of some variables of a MATLAB file, one after another."""
    from scipy.io import loadmat  # slow to import, and only this source needs it

    again = f"the official {path.name} has {official}: get it again"
    try:
        with open(path, "rb") as file:
            content = loadmat(file, variable_names=variables)
        numbers = [number for variable in variables for number in content[variable].ravel().tolist()]
        if not numbers or not set(numbers) <= set(range(1, largest + 1)):
            raise ValueError(f"{len(numbers)} numbers that are not all from 1 to {largest}")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; {again}") from error
    except Exception as error:  # damage can break any step of the parsing
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise UserError(f"{path} is damaged or no MATLAB file ({reason}); {again}") from error
    return [int(number) for number in numbers]
