"""Tables that a benchmark writes into a document, between two lines of its own."""

from dataclasses import dataclass
from pathlib import Path

from src.errors import UserError
from src.files.output_file import check_output_file
from src.files.whole_file import write_whole

END = "<!-- end of what is written -->"


@dataclass(frozen=True)
class WrittenTable:
    """The place of a table.

    Attributes:
        path: of the Markdown file.
        script: that writes it.

    Raises:
        UserError: no such file, or it lacks the lines between which the table stands.
    """

    path: Path
    script: str

    def __post_init__(self) -> None:
        check_output_file(self.path, ".md")
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        if END not in text.partition(self.begin)[2]:
            raise UserError(f"--markdown {self.path}: expected a file with the lines {self.begin} and {END}")

    @property
    def begin(self) -> str:
        return f"<!-- written by benchmarks/{self.script} -->"

    def write(self, markdown: str) -> None:
        """Replaces what stands there."""
        before, _, rest = self.path.read_text(encoding="utf-8").partition(self.begin)
        after = rest.partition(END)[2]
        write_whole(self.path, f"{before}{self.begin}\n\n{markdown}\n\n{END}{after}")
