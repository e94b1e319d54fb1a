"""A state as a picture, for pages elsewhere (SVG)."""

from xml.sax.saxutils import escape

from tinyci.model.state import Kind

COLOURS = {str(Kind.GOOD): "#176a2e", str(Kind.BAD): "#b3261e"}
"""Grounds of the state, by kind."""
COLOUR = "#5b5e63"
"""The ground of the other kinds."""
_LONGEST = 40


def svg(label: str, state: str, kind: str) -> str:
    """Return a badge with a title that says both texts; any text will do."""
    left_text, right_text = _shorten(label), _shorten(state)
    left_width, right_width = (round(6.6 * len(text)) for text in (left_text, right_text))
    middle, width = left_width + 14, left_width + right_width + 28
    title, left_text, right_text = escape(f"{left_text}: {right_text}"), escape(left_text), escape(right_text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-labelledby="t">'
        f'<title id="t">{title}</title>'
        f'<rect width="{width}" height="20" rx="4" fill="#343a43"/>'
        f'<path d="M{middle} 0h{width - middle - 4}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H{middle}z" '
        f'fill="{COLOURS.get(kind, COLOUR)}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" aria-hidden="true">'
        f'<text x="7" y="14" textLength="{left_width}">{left_text}</text>'
        f'<text x="{middle + 7}" y="14" textLength="{right_width}">{right_text}</text></g></svg>\n'
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
