"""Packs files of the source tree into an archive, under their paths on a server.

usage: pack.py TREE ARCHIVE PATHS    PATHS: JSON, from files or directories in the tree to paths in the archive

The same files make the same archive: times, owners and the mode bits that git does not keep have fixed values. A manual
page in Markdown (PAGE.SECTION.md in a directory `man`) is packed as roff, at the path where man(1) finds it.
"""

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import manpage

MTIME = 1580601600  # as the files of a wheel have it, for the same reason


def main() -> None:
    tree, archive, paths = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    archive.parent.mkdir(parents=True, exist_ok=True)
    new = archive.with_name(f"{archive.name}.{os.getpid()}")
    with tarfile.open(new, "w") as tar:
        for source, target in paths.items():
            top = tree / source
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.parent.name == "man" and path.suffix == ".md":
                    add_page(tar, path, Path(target))
                elif path.is_file():
                    add(tar, path, Path(target) / path.relative_to(top))
    new.replace(archive)  # in one step: another server may be getting the same file now


def add(tar: tarfile.TarFile, path: Path, target: Path) -> None:
    add_bytes(tar, path.read_bytes(), target, 0o755 if path.stat().st_mode & 0o100 else 0o644)


def add_page(tar: tarfile.TarFile, path: Path, target: Path) -> None:
    name = path.stem
    page = manpage.roff(str(path), path.read_text(encoding="utf-8"))
    add_bytes(tar, page.encode(), target / f"man{name.rpartition('.')[2]}" / name, 0o644)


def add_bytes(tar: tarfile.TarFile, content: bytes, target: Path, mode: int) -> None:
    info = tarfile.TarInfo(str(target))
    info.size = len(content)
    info.mtime = MTIME
    info.mode = mode
    info.uname = info.gname = "root"
    tar.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    main()
