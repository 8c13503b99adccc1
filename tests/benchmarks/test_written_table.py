"""Tables that benchmarks write into documents."""

import pytest

from benchmarks.written_table import END, WrittenTable
from src.errors import UserError


def test_only_the_own_part_is_replaced(tmp_path):
    path = tmp_path / "a.md"
    other = f"<!-- written by benchmarks/other.py -->\nold\n{END}"
    path.write_text(f"before\n{other}\n<!-- written by benchmarks/own.py -->\nold\n{END}\nafter\n")
    for text in ("| a |", "| b |"):
        WrittenTable(path, "own.py").write(text)
        assert path.read_text() == (
            f"before\n{other}\n<!-- written by benchmarks/own.py -->\n\n{text}\n\n{END}\nafter\n"
        )


@pytest.mark.parametrize("content", [None, "", "<!-- written by benchmarks/own.py -->", END])
def test_a_document_without_a_place(content, tmp_path):
    path = tmp_path / "a.md"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match="expected a file with the lines <!-- written by benchmarks/own.py"):
        WrittenTable(path, "own.py")
