"""Writes the first held-out image of some digits as PNG files: python scripts/write_digits.py FOLDER"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.data.digits import Digits

LABELS = range(5)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("error: expected one argument, the folder to write to; usage: python scripts/write_digits.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    digits = Digits("val")
    labels = [digits.label(index) for index in range(len(digits))]
    for label in LABELS:
        image, _ = digits[labels.index(label)]
        image.save(folder / f"a_{label}.png")


if __name__ == "__main__":
    main()
