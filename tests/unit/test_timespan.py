"""Time spans are read and shown as systemd.time(7) has them."""

import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinyci.model import timespan


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("90", 90),
        ("30min", 1800),
        ("30 minutes", 1800),
        ("10m", 600),
        ("1h 30min", 5400),
        ("1h30min", 5400),
        (" 2 hr  1 s ", 7201),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),  # MICRO SIGN
        ("3μs", 3e-6),  # GREEK SMALL LETTER MU
        ("1d", 86400),
        ("2weeks", 1209600),
        ("0", 0),
    ],
)
def test_a_span_is_read_as_systemd_reads_it(text: str, seconds: float) -> None:
    assert timespan.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "five", "-5s", "5 parsecs", "5S", "1..5s", ".5s", "5s,", "5s!", "٣s", "infinity", "1month", "1y"],
)
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        timespan.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5, "5s"),
        (10, "10s"),
        (5.25, "5.25s"),
        (0.001, "0.001s"),
        (59.9996, "60s"),
        (60, "1min"),
        (90, "1min 30s"),
        (3599.6, "1h"),
        (3600, "1h"),
        (90061, "1d 1h 1min 1s"),
    ],
)
def test_a_span_is_shown_for_a_person(seconds: float, text: str) -> None:
    assert timespan.show(seconds) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_what_is_shown_can_be_read_again(seconds: float) -> None:
    rounding = 0.0005 if seconds < 60 else 0.5
    assert timespan.parse(timespan.show(seconds)) == pytest.approx(seconds, abs=rounding * 1.001, rel=0)


@given(st.text(alphabet="0123456789.smhµ -\n٣x", max_size=12))
def test_no_text_leads_to_another_error(text: str) -> None:
    with suppress(ValueError):
        assert timespan.parse(text) >= 0


def test_a_long_wrong_number_is_refused_at_once() -> None:
    program = (
        "from tinyci.model import timespan\ntry: timespan.parse('1' * 40 + '!')\nexcept ValueError: print('refused')"
    )
    process = subprocess.run([sys.executable, "-c", program], env=_path(), capture_output=True, text=True, timeout=2)
    assert process.stdout == "refused\n"


def _path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (86400 * 3, "3 days")],
)
def test_a_span_is_as_short_as_it_is_useful(seconds: float, text: str) -> None:
    assert timespan.brief(seconds) == text
