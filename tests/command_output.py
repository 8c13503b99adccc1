"""What commands print."""


def without_outcome(text: str) -> str:
    """`text` less the lines that `src.terminal.outcome` makes."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("written: ", "next: ")))
