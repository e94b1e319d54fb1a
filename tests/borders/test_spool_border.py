"""Whatever lies in the spool, each file is a job that the hook could have written, or is named; a good one beside it is
read, and no descriptor and no minute is lost to it."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import BYTES, FROM_BYTES, border, mutations, obeyed
from hypothesis import strategies as st
from tinyci.daemon import spool
from tinyci.model.fields import HOOK_FIELDS

FIELDS = {"repo": "web", "ref": "refs/heads/main", "revision": "a" * 40, "previous": "0" * 40, "pusher": "anna"}
JOB = "0b2e4f6c-cca8-41ec-8c59-67453021b8a9"
GOOD = json.dumps({"id": JOB, **FIELDS})
GOOD_NAME = f"1700000000000000-0001-{JOB}.json"
NAMES = st.one_of(
    st.sampled_from(
        [GOOD_NAME.replace("17", "16"), f"9999999999999999-0001-{JOB}.json", f"-1-{JOB}.json", ".json", "..json"]
    ),
    st.sampled_from(["٣-x.json", "1_0-x.json", "9" * 200 + "-x.json", "1e9-x.json", " 1 -x.json", "\n-\x1b[2J.json"]),
    mutations(GOOD_NAME.encode()).map(lambda name: os.fsdecode(name.replace(b"/", b"").replace(b"\0", b"")[:200])),
    FROM_BYTES.map(lambda text: os.fsdecode(os.fsencode(text.replace("/", "").replace("\0", ""))[:100]) + ".json"),
).filter(lambda name: name not in ("", ".", "..", GOOD_NAME))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**50), 10**50)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=6,
)
CONTENTS = st.one_of(
    BYTES,
    mutations(GOOD.encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["id", *HOOK_FIELDS, "state", "user"]), JSON, max_size=8).map(
        lambda changes: json.dumps({**json.loads(GOOD), **changes}).encode()
    ),
    st.sampled_from([b"[" * 60_000, b'{"id":' * 10_000, b"1" * 60_000, b"x" * 70_000, b"\0" * 65_537]),
)


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


KINDS: list[Callable[[Path, bytes], Any]] = [
    *[write] * 8,
    lambda path, _: path.mkdir(),
    lambda path, _: os.mkfifo(path),
    lambda path, _: path.symlink_to(path.parent / GOOD_NAME),
    lambda path, _: path.symlink_to("/dev/zero"),
    lambda path, _: path.symlink_to("nowhere"),
    lambda path, _: os.mknod(path, stat.S_IFSOCK | 0o600),
]


@border(
    st.lists(st.tuples(NAMES, st.sampled_from(KINDS), CONTENTS), max_size=3, unique_by=lambda each: each[0]), few=100
)
def test_each_file_is_a_job_or_named_and_a_good_one_is_read(
    tmp_path: Path, files: list[tuple[str, Callable[[Path, bytes], Any], bytes]]
) -> None:
    for old in os.scandir(tmp_path):
        shutil.rmtree(old.path) if old.is_dir(follow_symlinks=False) else os.unlink(old.path)
    for name, make, content in files:
        make(tmp_path / name, content)
    (tmp_path / GOOD_NAME).write_text(GOOD)
    descriptors = len(os.listdir("/proc/self/fd"))
    spool_files = list(spool.read(str(tmp_path)))
    assert len(os.listdir("/proc/self/fd")) == descriptors
    wanted = [name for name in sorted([GOOD_NAME, *(name for name, _, _ in files)]) if name.endswith(".json")]
    assert [each.path.name for each in spool_files] == wanted
    for each in spool_files:
        if each.problem:
            assert (each.id, each.fields, each.time) == ("", {}, 0.0)
            assert str(each.path) in each.problem or not each.path.name.isprintable()
            assert len(each.problem) < 1000 and not obeyed(each.problem, "\t")
        else:
            assert 0 < len(each.id) <= 64 and each.fields.keys() <= set(HOOK_FIELDS)
            assert sum(map(len, each.fields.values())) <= 64 * 1024
            assert 0 <= each.time < 10**10, "a time that lies beyond all others is before them for ever"
            "".join([each.id, *each.fields.values()]).encode("utf-8", "surrogateescape")
        # What is done with it next in daemon/intake.py.
        assert each.path.with_suffix(".bad").parent == tmp_path
    assert [each.fields for each in spool_files if each.path.name == GOOD_NAME] == [FIELDS]


def test_who_may_not_read_a_file_is_told_so(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("root reads everything")
    (tmp_path / GOOD_NAME).write_text(GOOD)
    (tmp_path / GOOD_NAME).chmod(0)
    (each,) = spool.read(str(tmp_path))
    assert "Permission denied" in each.problem
