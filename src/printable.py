"""Text that came from outside, such as names of files and labels, for a terminal."""


def printable(text: str) -> str:
    """`text` on one line, with a question mark for each character that has no picture.

    Those are line ends, the escapes that move a terminal's cursor and change its colours, marks that reverse the order
    of what follows, and the odd bytes of names that are no UTF-8.
    """
    return "".join(character if character.isprintable() else "?" for character in text)
