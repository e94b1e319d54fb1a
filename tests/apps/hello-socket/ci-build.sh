#!/bin/sh
# Builds the image of the revision that was pushed, named as the repo.
set -eu

# Debian's own Python with what it is linked against, since there is no registry to take an image from.
python=$(readlink -f /usr/bin/python3)
rm -rf runtime
mkdir runtime
{
    echo "$python"
    ldd "$python" | grep -o '/[^ ]*'
    find "/usr/lib/${python##*/}" -name '*.py' -not -path '*/test/*' -not -path '*/idlelib/*'
} | xargs cp --parents --dereference --target-directory=runtime
ln -s "${python##*/}" runtime/usr/bin/python3
podman build --tag "$TINYCI_REPO:latest" .
