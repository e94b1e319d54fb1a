"""The release: the same files make the same archive, whatever modes a clone gave them."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

TREE = Path(__file__).parents[2]
PACK = TREE / "ansible" / "roles" / "tinyci" / "files" / "pack.py"


def pack(directory: Path, mode: int) -> Path:
    """Archive a small tree whose modes are those of a clone that was made with a umask."""
    tree = directory / "tree"
    (tree / "hooks").mkdir(parents=True)
    for name, file_mode in (("hooks/post-receive", 0o777), ("unit.service", 0o666)):
        (tree / name).write_text(name)
        (tree / name).chmod(file_mode & mode)
    archive = directory / "server.tar"
    places = {"hooks": "opt/tinyci/hooks", "unit.service": "usr/lib/systemd/system/unit.service"}
    subprocess.run([sys.executable, PACK, tree, archive, json.dumps(places)], check=True)
    return archive


def test_the_umask_of_a_clone_does_not_change_the_release(tmp_path: Path) -> None:
    private, public = pack(tmp_path / "private", ~0o077), pack(tmp_path / "public", ~0o022)
    assert private.read_bytes() == public.read_bytes()
    with tarfile.open(private) as tar:
        assert {member.name: oct(member.mode) for member in tar} == {
            "opt/tinyci/hooks/post-receive": "0o755",
            "usr/lib/systemd/system/unit.service": "0o644",
        }
