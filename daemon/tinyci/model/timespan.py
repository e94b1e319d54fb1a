"""Time spans as systemd writes them: `5s`, `30min`, `1h 30min`, a bare number is seconds (systemd.time(7))."""

_INFINITY = float("inf")
_SECONDS = {
    **dict.fromkeys(("us", "usec", "µs", "μs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
_DIGITS = "0123456789"
_UNITS = "abcdefghijklmnopqrstuvwxyz\u00b5\u03bc"
_BLANKS = " \t\n\r\f\v"


def parse(text: str) -> float:
    """Return the seconds of a time span. Raises ValueError for other texts, also for months, years and `infinity`."""
    total, rest = 0.0, text.strip(_BLANKS)
    while True:
        number, rest = _split(rest, _DIGITS)
        fraction, after = _split(rest[1:], _DIGITS) if rest.startswith(".") else ("", rest)
        if fraction:
            number, rest = f"{number}.{fraction}", after
        unit, rest = _split(rest.lstrip(_BLANKS), _UNITS)
        if not number[:1].isdigit() or unit not in _SECONDS:
            raise ValueError(f"not a time span: {text!r}")
        total += float(number) * _SECONDS[unit]
        rest = rest.lstrip(_BLANKS)
        if not rest:
            break
    if total == _INFINITY:
        raise ValueError("a time span must have an end")
    return total


def _split(text: str, characters: str) -> tuple[str, str]:
    """Split a text behind the characters that it begins with."""
    rest = text.lstrip(characters)
    return text[: len(text) - len(rest)], rest


def show(seconds: float) -> str:
    """Format a span for a person: `1h 2min`, `5.25s`; parse() reads it again."""
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    rest, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts)


def brief(seconds: float) -> str:
    """Format a duration as short as it is useful: `1.5 s`, `2 min 5 s`; parse() does not read it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
