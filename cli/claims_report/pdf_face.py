"""The face that PDF reports are set in, which comes with reportlab, and what it lacks."""

from __future__ import annotations

import unicodedata

FONT, BOLD = "Vera", "VeraBd"
#: Signs that the face lacks, and what is written instead.
_SPELT = {
    "→": "->",
    "⇒": "=>",
    "Σ": "sum",
    "∈": "in",
    "≪": "<<",
    "≫": ">>",
    "∝": "~",
    "‖": "||",
    "✓": "yes",
    "⌊": "floor(",
    "⌋": ")",
    "⌈": "ceil(",
    "⌉": ")",
    "∪": "or",
    "∘": "°",
    "↓": "down",
    "↑": "up",
}


class Face:
    """The registered face, and texts in the signs that it has."""

    def __init__(self) -> None:
        """Register the face."""
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFont

        for name in (FONT, BOLD):
            if name not in pdfmetrics.getRegisteredFontNames():
                pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
        pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)
        self.known = frozenset(pdfmetrics.getFont(FONT).face.charToGlyph)

    def clean(self, text: str) -> str:
        """Return a text in signs that the face has."""
        spelt = "".join(_SPELT.get(sign, sign) for sign in text)
        return "".join(self._sign(sign) for sign in spelt)

    def _sign(self, sign: str) -> str:
        if ord(sign) in self.known:
            return sign
        plain = unicodedata.normalize("NFKC", sign)
        if all(ord(one) in self.known for one in plain):
            return plain
        words = unicodedata.name(sign, "?").lower().split()
        return words[-1] if "letter" in words else "?"  # α is "alpha"
