"""Showing text that comes from outside: messages, responses, labels, names.

Markup is escaped by Jinja and by matplotlib; this module sees to what escaping leaves: characters that
are invisible, break XML or turn the direction of the line around, and texts of any length.
"""

import re

from markupsafe import Markup

# C0 and C1 controls except tab and newline, the marks of Unicode's bidirectional algorithm
# (UAX #9, section 2), lone surrogates (not UTF-8), and noncharacters (not XML).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def plain(value: object, limit: int = 600) -> str:
    """`value` as text with every control character made visible, cut to `limit` characters and `…`."""
    text, left_out = _cut(value, limit)
    return f"{text}…" if left_out else text


def untrusted(value: object, limit: int = 600) -> Markup:
    """`value` escaped for HTML and isolated from the direction of its surroundings.

    A text longer than `limit` characters is cut, and says how many characters are missing.
    """
    text, left_out = _cut(value, limit)
    note = Markup('<span class="cut">… {:,} more characters</span>').format(left_out) if left_out else ""
    return Markup('<bdi class="data">{}</bdi>{}').format(text, note)


def _cut(value: object, limit: int) -> tuple[str, int]:
    text = str(value)
    shown = text[:limit].replace("\r\n", "\n")
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", shown), max(0, len(text) - limit)
