"""Writes a few held-out digits as PNG files: python scripts/write_digits.py FOLDER"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.data.digits import Digits

COUNT = 5


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("error: expected one argument, the folder to write to; usage: python scripts/write_digits.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    digits = Digits("val")
    for index in range(0, len(digits), len(digits) // COUNT):
        image, label = digits[index]
        image.save(folder / f"digit_{label}_number_{index}.png")


if __name__ == "__main__":
    main()
