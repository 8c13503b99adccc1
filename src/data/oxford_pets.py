"""Oxford-IIIT Pets: 37 breeds of cats and dogs, 3,680 training and 3,669 validation images.

Source: O. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", CVPR 2012. As images.tar.gz and
annotations.tar.gz unpack in one folder: ROOT/images/*.jpg, and ROOT/annotations/trainval.txt and test.txt. Those have
one image a line, 'Abyssinian_100 1 1 1': file name without .jpg, class (from 1), species, breed of the species. There
is no list of class names; they are the file names without their number (the cats' begin with a capital letter). Some
files that end in .jpg hold another format, which is read all the same.
"""

import re
from pathlib import Path

from ..errors import UserError
from .listed_images import ListedImages

LISTS = {"train": ("trainval.txt", "3,680"), "val": ("test.txt", "3,669")}
LAYOUT = "expected ROOT/images/ and ROOT/annotations/, as images.tar.gz and annotations.tar.gz unpack"


class OxfordPets(ListedImages):
    """One split, in the order of its list. Classes are those of both lists, so that the splits agree.

    Args:
        root: folder that holds images/ and annotations/.
        split: 'train' (trainval.txt) or 'val' (test.txt).

    Raises:
        UserError: another split; a list that is missing or damaged, or whose images are missing. At reading: a broken
            image, by its name.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in LISTS:
            raise UserError(f"unknown split {split!r}: expected 'train' or 'val'")
        root = Path(root)
        if not root.is_dir():
            raise UserError(f"data folder {root} does not exist or is no folder; {LAYOUT}")
        names: dict[int, str] = {}
        lists = {other: _read_list(root / "annotations" / file, count, names) for other, (file, count) in LISTS.items()}
        if sorted(names) != list(range(1, len(names) + 1)):
            raise UserError(
                f"{root / 'annotations'}: its lists name {len(names)} classes up to number {max(names)}; "
                "annotations.tar.gz has there the numbers 1 to 37: unpack it again"
            )
        images, labels = zip(*lists[split], strict=True)
        super().__init__(root / "images", images, labels, [names[k] for k in sorted(names)], "images.tar.gz")


def _read_list(path: Path, count: str, names: dict[int, str]) -> list[tuple[str, int]]:
    """File name and label of each image of a list; puts the class names into `names`, by their number."""
    official = f"annotations.tar.gz has there {count} lines such as 'Abyssinian_100 1 1 1': unpack it again"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {official}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text; {official}") from error
    images = []
    for number, line in enumerate(lines, start=1):
        found = re.fullmatch(r"((\S+)_\d+)\s+([1-9]\d{0,2})\s+\d+\s+\d+\s*", line, re.ASCII)
        if not found:
            raise UserError(f"{path}: line {number} is {line[:80]!r}; {official}")
        image, name, class_id = found[1], found[2], int(found[3])
        if names.setdefault(class_id, name) != name:
            raise UserError(
                f"{path}: line {number} gives class {class_id} to {name}, others to {names[class_id]}; {official}"
            )
        images.append((f"{image}.jpg", class_id - 1))
    if not images:
        raise UserError(f"{path} is empty; {official}")
    return images
