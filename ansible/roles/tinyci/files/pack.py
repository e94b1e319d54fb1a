"""Packs files of the source tree at the places that they have on a server.

usage: pack.py TREE ARCHIVE PLACES    PLACES: JSON, from files or directories in the tree to places in the archive

The same files make the same archive: times, owners and the mode bits that git does not keep are set.
"""

import json
import os
import sys
import tarfile
from pathlib import Path

MTIME = 1580601600  # that of the files in a wheel, for the same reason


def main() -> None:
    tree, archive, places = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    archive.parent.mkdir(parents=True, exist_ok=True)
    new = archive.with_name(f"{archive.name}.{os.getpid()}")
    with tarfile.open(new, "w") as tar:
        for source, place in places.items():
            top = tree / source
            for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if path.is_file():
                    add(tar, path, Path(place) / path.relative_to(top))
    new.replace(archive)  # in one step, for whoever copies the same file to another server now


def add(tar: tarfile.TarFile, path: Path, place: Path) -> None:
    info = tar.gettarinfo(path, str(place))
    info.mtime = MTIME
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    with path.open("rb") as file:
        tar.addfile(info, file)


if __name__ == "__main__":
    main()
