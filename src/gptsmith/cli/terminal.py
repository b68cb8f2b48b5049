"""Texts from outside on a terminal."""


def printable_line(text: str) -> str:
    """Without what a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)


def printable_text(text: str) -> str:
    """Without what a terminal would act on but for line ends and tabs."""
    return "".join(character if character.isprintable() or character in "\n\t" else " " for character in text)
