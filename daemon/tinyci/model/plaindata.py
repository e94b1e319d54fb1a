"""TOML and JSON as plain as tinyci's own files mostly are.

The libraries that read all of either take longer to import than a push, or the start of a stage, may take.
"""

_BLANKS = " \t"
_DIGITS_MAX = 15


def toml_table(text: str) -> dict[str, object] | None:
    """Return the values of a TOML text (toml.io/en/v1.0.0); None for one that is not plain, or wrong.

    Plain are lines of a key and a string, a list of strings, a number or a boolean, comments, and tables.
    """
    if not _is_printable(text.replace("\n", "")):
        return None
    root: dict[str, object] = {}
    table = root
    for raw_line in text.split("\n"):
        line = raw_line.strip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            key, table = line[1:-1], {}
            if not line.endswith("]") or key in root or not _is_bare(key):
                return None
            root[key] = table
            continue
        words, _, rest = line.partition("=")
        key, value = words.strip(_BLANKS), _value(rest.strip(_BLANKS))
        if value is None or key in table or not _is_bare(key):
            return None
        table[key] = value
    return root


def _value(text: str) -> object:
    """Return the value of a text; None for one that is not plain."""
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX and (text == "0" or text[0] != "0"):
        return int(text)
    if "\\" in text or "'" in text:
        return None
    is_list = text.startswith("[") and text.endswith("]")
    parts = (text[1:-1] if is_list else text).split('"')
    if len(parts) % 2 == 0:  # a string does not end
        return None
    strings, between = parts[1::2], [each.strip(_BLANKS) for each in parts[::2]]
    if is_list and len(parts) > 1:
        is_right = between[0] == "" and between[-1] in ("", ",") and all(each == "," for each in between[1:-1])
        return strings if is_right else None
    if is_list:
        return [] if between == [""] else None
    return strings[0] if between == ["", ""] and len(strings) == 1 else None


def json_object(data: bytes) -> dict[str, str] | None:
    """Return the values of a JSON object (RFC 8259) of strings, written as json.dumps() does; None for any other."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    parts = text.split('"')
    if "\\" in text or not _is_printable(text) or len(parts) % 4 != 1 or len(parts) < 5:
        return None
    is_right = parts[0] == "{" and parts[-1] == "}" and {*parts[2::4]} == {": "} and {*parts[4:-1:4]} <= {", "}
    return dict(zip(parts[1::4], parts[3::4], strict=True)) if is_right else None


def _is_printable(text: str) -> bool:
    return text.replace("\t", "").isprintable()


def _is_bare(key: str) -> bool:
    return key.isascii() and key.replace("_", "").replace("-", "").isalnum()
