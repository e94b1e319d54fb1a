"""Makes a podman secret what standard input says, and says "made" when it was not so.

usage: secret.py NAME PODMAN...    PODMAN: the command line of podman as the user whose secret it is
"""

import subprocess
import sys


def main() -> None:
    name, podman = sys.argv[1], sys.argv[2:]
    value = sys.stdin.buffer.read()
    show = [*podman, "secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", name]
    shown = subprocess.run(show, capture_output=True)
    if shown.returncode == 0 and shown.stdout == value + b"\n":
        return
    subprocess.run([*podman, "secret", "create", "--replace", name, "-"], input=value, stdout=sys.stderr, check=True)
    print("made")


if __name__ == "__main__":
    main()
