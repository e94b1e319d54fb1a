"""Sets a podman secret to the text of standard input, and prints "made" if it was another.

usage: secret.py NAME PODMAN...    PODMAN: the command line of podman as the user whose secret it is
"""

import subprocess
import sys


def main() -> None:
    name, podman = sys.argv[1], sys.argv[2:]
    value = sys.stdin.buffer.read()
    inspect = [*podman, "secret", "inspect", "--showsecret", "--format", "{{.SecretData}}", name]
    secret = subprocess.run(inspect, capture_output=True)
    if secret.returncode == 0 and secret.stdout == value + b"\n":
        return
    subprocess.run([*podman, "secret", "create", "--replace", name, "-"], input=value, stdout=sys.stderr, check=True)
    print("made")


if __name__ == "__main__":
    main()
