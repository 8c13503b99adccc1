"""Text files that list classes, and those that list images."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.fuzz_targets.mutation import ODD_TEXTS, mutate_bytes
from benchmarks.fuzz_targets.target import SilentChange
from src.data.class_list import read_class_list
from src.data.image_list import read_image_list

CLASSES = "n02012849,crane\nant\na,b\tcomma\r\ncafé\t狗\nbig cat, a cat\n"
FILES = ("a/1.png", "a/2.png", "b/x, y.png", "b/狗.png")
IMAGES = (
    'file,label\na/1.png,ant\na/2.png,ant\n"b/x, y.png",bee\nb/狗.png,狗\n',
    "a/1.png\tant\nb/x, y.png\tbee\r\nb/狗.png\t狗\n",
    'id,Label,path\n1,ant,a/1.png\n2,"b, c",b/狗.png\n',
)
PARTS = (
    *(*ODD_TEXTS, "..", "../", "/", "/etc/passwd", "a/1.png", "b/../a/1.png", "./", "ant", "file", "label", "class"),
    *("\t", ",", ",,", '"', '""', "\r", "\u2028", "\x85", "\x1b[31m", "\u202e", "e\u0301", "é", "x" * 5000, " ", "#"),
)


def mutate_lines(text: str, random: Random) -> bytes:
    """Lines doubled, exchanged, left out or emptied, and parts put in; or damaged bytes."""
    if random.random() < 0.3:
        return mutate_bytes(random.choice((b"", b"\xef\xbb\xbf")) + text.encode(), random)
    lines = text.split("\n")
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        place, other = (random.randrange(len(lines)) for _ in range(2))
        match random.randrange(6):
            case 0:
                lines.insert(other, lines[place])
            case 1:
                lines[place], lines[other] = lines[other], lines[place]
            case 2 if len(lines) > 1:
                del lines[place]
            case 3:
                lines[place] = random.choice(("", " ", lines[place] + "\r", random.choice(PARTS)))
            case _:
                at = random.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:at] + random.choice(PARTS) + lines[place][at:]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


class ClassLists:
    """Mutants: the bytes of a list of classes."""

    def __init__(self, folder: Path):
        self.path = folder / "classes.txt"

    def draw(self, random: Random) -> bytes:
        return mutate_lines(CLASSES, random)

    def read(self, mutant: bytes) -> None:
        self.path.write_bytes(mutant)
        found = read_class_list(self.path)
        lines = _lines(mutant)
        if len(found.names) != len(lines) or len(found.labels) != len(lines):
            raise SilentChange("more or fewer classes than lines")
        for number, (name, label, line) in enumerate(zip(found.names, found.labels, lines, strict=True)):
            if found.number_of(name) != number:
                raise SilentChange(f"class {number} is another one by its name")
            _check_names((name, label), line)


class ImageLists:
    """Mutants: the bytes of a list of images."""

    def __init__(self, folder: Path):
        self.root = folder
        for file in FILES:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).touch()
        self.path = folder / "list.csv"

    def draw(self, random: Random) -> bytes:
        return mutate_lines(random.choice(IMAGES), random)

    def read(self, mutant: bytes) -> None:
        self.path.write_bytes(mutant)
        images = read_image_list(self.path)
        lines = _lines(mutant)
        if len(images) not in (len(lines), len(lines) - 1):
            raise SilentChange("more or fewer images than lines")
        if len({image.file for image in images}) != len(images):
            raise SilentChange("an image twice")
        for image, line in zip(images, lines[-len(images) :], strict=True):
            if not (self.root / image.file).resolve().is_relative_to(self.root.resolve()):
                raise SilentChange("an image outside the folder")
            if image.file not in (*FILES, self.path.name):
                raise SilentChange("an image that is not there")
            line = unicodedata.normalize("NFC", line)
            _check_names((image.label,), line + "\n" + line.replace('""', '"'))


def _lines(content: bytes) -> list[str]:
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n")


def _check_names(names: Sequence[str], line: str) -> None:
    """Raises SilentChange unless names are printable parts of a line."""
    for name in names:
        if not name or not name.isprintable() or name != name.strip() or name not in line:
            raise SilentChange("a name that the line does not have")
