"""The 256 colours of a terminal, on a light and on a dark page; each is readable on both."""

from functools import lru_cache

Colour = tuple[int, int, int]

LIGHT: Colour = (251, 251, 249)
"""The ground of output by scheme: `--sunk` in style.css."""
DARK: Colour = (17, 20, 24)
READABLE = 4.5
"""The contrast that WCAG 2.2 asks of text (1.4.3, AA)."""

_FIRST = (
    *((0, 0, 0), (187, 33, 36), (24, 125, 52), (150, 98, 0), (30, 87, 190), (150, 44, 150), (0, 118, 132)),
    *((170, 170, 170), (92, 92, 92), (224, 68, 68), (46, 160, 67), (196, 144, 0), (74, 134, 240), (196, 86, 196)),
    *((30, 160, 176), (255, 255, 255)),
)
_STEPS = (0, 95, 135, 175, 215, 255)


def colour(number: int) -> Colour:
    """The colour of a number below 256: the first 16 are ours, the others xterm's."""
    if number < 16:
        return _FIRST[number]
    if number < 232:
        rest = number - 16
        return _STEPS[rest // 36], _STEPS[rest // 6 % 6], _STEPS[rest % 6]
    grey = 8 + 10 * (number - 232)
    return grey, grey, grey


def nearest(red: int, green: int, blue: int) -> int:
    """The number of the most similar colour."""
    goal = tuple(min(max(part, 0), 255) for part in (red, green, blue))

    def step(part: int) -> int:
        return min(range(6), key=lambda number: abs(_STEPS[number] - part))

    cube = 16 + 36 * step(goal[0]) + 6 * step(goal[1]) + step(goal[2])
    grey = 232 + min(max((sum(goal) // 3 - 3) // 10, 0), 23)
    return min((cube, grey), key=lambda number: sum((a - b) ** 2 for a, b in zip(colour(number), goal, strict=True)))


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(rgb: Colour) -> float:
    def linear(part: int) -> float:
        share = part / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(part) for part in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def readable(text: Colour, ground: Colour) -> Colour:
    """The colour itself, or the first one on its way to black or white that can be read on that ground."""
    goal = 0 if _luminance(ground) > 0.18 else 255
    for share in range(21):
        red, green, blue = (round(part + (goal - part) * share / 20) for part in text)
        if contrast((red, green, blue), ground) >= READABLE:
            return red, green, blue
    return goal, goal, goal


@lru_cache(maxsize=4096)
def is_readable_on(text: int, ground: int) -> bool:
    return contrast(colour(text), colour(ground)) >= READABLE


def css() -> str:
    """Rules: `fN` is text on the page, `bN` a ground with black or white text, `xN` text on such a ground."""
    numbers = range(256)
    rules = [f".f{number}{{color:{_hex(readable(colour(number), LIGHT))}}}" for number in numbers]
    for number in numbers:
        ground = colour(number)
        text = max(((0, 0, 0), (255, 255, 255)), key=lambda text: contrast(text, ground))
        rules.append(f".b{number}{{color:{_hex(text)};background:{_hex(ground)}}}")
    rules += [f".x{number}{{color:{_hex(colour(number))}}}" for number in numbers]
    dark = "".join(f".f{number}{{color:{_hex(readable(colour(number), DARK))}}}" for number in numbers)
    return "".join(rules) + f"@media (prefers-color-scheme:dark){{{dark}}}"


def _hex(rgb: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
