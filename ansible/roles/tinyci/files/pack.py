"""Packs files of the source tree at the places that they have on a server.

usage: pack.py TREE ARCHIVE PLACES    PLACES: JSON, from files or directories in the tree to places in the archive

The same files make the same archive: times, owners and the mode bits that git does not keep are set. A manual page in
Markdown (PAGE.SECTION.md below a directory `man`) is packed as roff, where man(1) looks for it.
"""

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import manpage

MTIME = 1580601600  # that of the files in a wheel, for the same reason


def main() -> None:
    tree, archive, places = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    archive.parent.mkdir(parents=True, exist_ok=True)
    new = archive.with_name(f"{archive.name}.{os.getpid()}")
    with tarfile.open(new, "w") as tar:
        for source, place in places.items():
            top = tree / source
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.parent.name == "man" and path.suffix == ".md":
                    add_page(tar, path, Path(place))
                elif path.is_file():
                    add(tar, path, Path(place) / path.relative_to(top))
    new.replace(archive)  # in one step, for whoever copies the same file to another server now


def add(tar: tarfile.TarFile, path: Path, place: Path) -> None:
    add_bytes(tar, path.read_bytes(), place, 0o755 if path.stat().st_mode & 0o100 else 0o644)


def add_page(tar: tarfile.TarFile, path: Path, place: Path) -> None:
    name = path.stem
    page = manpage.roff(str(path), path.read_text(encoding="utf-8"))
    add_bytes(tar, page.encode(), place / f"man{name.rpartition('.')[2]}" / name, 0o644)


def add_bytes(tar: tarfile.TarFile, content: bytes, place: Path, mode: int) -> None:
    info = tarfile.TarInfo(str(place))
    info.size = len(content)
    info.mtime = MTIME
    info.mode = mode
    info.uname = info.gname = "root"
    tar.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    main()
