#!/bin/sh
# Builds the image of the revision that was pushed.
set -eu

revision=$1
head=$(git rev-parse HEAD)
if [ "$head" != "$revision" ]; then
    echo "asked to build $revision, and this is $head" >&2
    exit 1
fi
cp /usr/bin/busybox busybox
podman build --tag hello-generated:latest .

# The line that always failed: nobody is logged in as this user. Before there is such a unit, the build is all.
if systemctl --user cat container-hello-generated.service >/dev/null 2>&1; then
    systemctl --user restart container-hello-generated.service
fi
