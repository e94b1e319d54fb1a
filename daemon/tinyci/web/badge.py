"""A picture of a state, to be shown elsewhere (SVG)."""

from xml.sax.saxutils import escape

_COLOURS = {
    "succeeded": "#176a2e",
    "failed": "#b3261e",
    "timed-out": "#b3261e",
    "rejected": "#b3261e",
    "rolled-back": "#7a5200",
}
_OTHER = "#5b5e63"
_LONGEST = 40


def svg(label: str, state: str) -> str:
    """A badge with a title that says both. Any text will do."""
    left, right = (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in (label, state))
    one, two = (round(6.6 * len(text)) for text in (left, right))
    middle, width = one + 14, one + two + 28
    title, left, right = escape(f"{left}: {right}"), escape(left), escape(right)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-labelledby="t">'
        f'<title id="t">{title}</title>'
        f'<rect width="{width}" height="20" rx="4" fill="#343a43"/>'
        f'<path d="M{middle} 0h{width - middle - 4}a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H{middle}z" '
        f'fill="{_COLOURS.get(state, _OTHER)}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" aria-hidden="true">'
        f'<text x="7" y="14" textLength="{one}">{left}</text>'
        f'<text x="{middle + 7}" y="14" textLength="{two}">{right}</text></g></svg>\n'
    )
