"""Characters that a reader cannot see or that a terminal obeys, one by one, for texts that an attacker stored."""

_RANGES = (
    *((0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x061C, 0x061C), (0x180E, 0x180E), (0x200B, 0x200F)),
    *((0x2028, 0x202E), (0x2060, 0x2064), (0x2066, 0x206F), (0xD800, 0xD801), (0xDFFF, 0xDFFF), (0xFEFF, 0xFEFF)),
    *((0xFFF9, 0xFFFB), (0xE0001, 0xE0001), (0xE0020, 0xE007F), (0x034F, 0x034F), (0x115F, 0x1160), (0x3164, 0x3164)),
)
UNSEEN = [chr(code) for first, last in _RANGES for code in range(first, last + 1)]
STORABLE = "".join(letter for letter in UNSEEN if letter != "\0" and not 0xD800 <= ord(letter) <= 0xDFFF)
"""Those that a text in PostgreSQL can hold."""
HOSTILE = f"\x1b]0;title\x07\x1b[2J\x9b31m[bold]x[/bold][link=https://evil]:smile: a\u202eb{STORABLE}c"
"""A stored text that holds all of them, terminal sequences and the markup of Rich."""


def unseen_in(text: str, besides: str = "") -> set[str]:
    """Return those of the characters that are in a text. besides: may be in it."""
    return (set(text) & set(UNSEEN)) - set(besides)
