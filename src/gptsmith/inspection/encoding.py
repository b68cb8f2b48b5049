"""In which encoding a file of text is."""

import codecs
from itertools import islice
from pathlib import Path

from charset_normalizer import from_bytes

from gptsmith.errors import UserError

BLOCK = 2**20
LOOKED_AT = 64 * BLOCK
"""Bytes of the file's beginning that the encoding is told by."""

# The longer ones first: UTF-32's begins with UTF-16's.
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# What programs of offices write. Asked for all it knows, the library finds what nobody has used for decades.
CANDIDATES = [f"cp{page}" for page in (1252, 1250, 1251, 1253, 1254, 1255, 1256, 932, 949)] + ["gb18030", "big5"]


def find_encoding(path: Path) -> str:
    """Python's name of the encoding: `utf-8-sig` is UTF-8 with a byte-order mark.

    UTF-8 and UTF-16 are told for certain, others guessed. Raises UserError when the file is not text.
    """
    with path.open("rb") as file:
        beginning = file.read(BLOCK)
    for mark, encoding in MARKS.items():
        if beginning.startswith(mark):
            return encoding
    if b"\0" in beginning:
        # Of the two bytes of a Latin character one is 0: the second one where the lower byte is written first.
        second, first = (beginning[start::2].count(0) for start in (1, 0))
        if max(first, second) < max(len(beginning) // 8, 4 * min(first, second)):
            line = beginning.count(b"\n", 0, beginning.index(0)) + 1
            raise UserError(f"{path}: not a file of text: there is a NUL byte in line {line}")
        return "utf-16-le" if second > first else "utf-16-be"
    return "utf-8" if _is_utf8(path) else _guess(path)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            for block in islice(iter(lambda: file.read(BLOCK), b""), LOOKED_AT // BLOCK):
                decoder.decode(block)
        except UnicodeDecodeError:
            return False
        if not file.read(1):
            return not decoder.getstate()[0]
    return True


def _guess(path: Path) -> str:
    """By the lines that are not ASCII, of which 64 KB are plenty."""
    with path.open("rb") as file:
        telling = (line for line in islice(file, 10**6) if not line.isascii())
        found = from_bytes(b"".join(islice(telling, 500))[: 2**16], cp_isolation=CANDIDATES)
    best = found.best()
    if best is None:
        raise UserError(f"{path}: not UTF-8, and no other encoding fits. Save it as UTF-8.")
    # Where others fit as well, it is what Excel writes in most of Europe and America.
    as_good = [match for match in found if (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    return "cp1252" if any("cp1252" in match.could_be_from_charset for match in as_good) else best.encoding
