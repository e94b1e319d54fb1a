#!/bin/sh
# Builds just from Debian's source package, installs it as /usr/local/bin/just, and leaves nothing else behind.
# Run as root on the server.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

source=rust-just
stamp=/usr/local/share/just/source-version

# The places that Debian's own packages come from, for sources. A place without a key of its own keeps the variable.
lists=/etc/apt/sources.list.d/just-source.list
# Not kept where it leads to nothing, or apt takes it for a contradiction, and would do nothing at all from then on.
give_up() {
    rm -f $lists
    echo "apt has none of Debian's lists of source packages, which just is built from: see what 'apt-get update' says," \
        "or leave the role out by server_without: [just]" >&2
    exit 1
}
# shellcheck disable=SC2016 # apt's own variables
apt-get indextargets --format 'deb-src [signed-by=$(SIGNED_BY)] $(REPO_URI) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    sed 's/ \[signed-by=$(SIGNED_BY)\]//' | sort -u >$lists.new
if ! cmp -s $lists.new $lists; then
    mv $lists.new $lists
    apt-get -qq update || give_up
else
    rm $lists.new
fi
# apt names only lists that it has.
[ -n "$(apt-get indextargets 'Created-By: Sources' 'Origin: Debian')" ] || give_up

wanted=$(apt-cache showsrc --only-source $source | sed -n 's/^Version: //p' | sort --version-sort | tail -n 1)
[ -n "$wanted" ] || {
    echo "this Debian has no source package $source, so just is left out"
    exit 0
}
if [ -x /usr/local/bin/just ] && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

installed() {
    dpkg-query --show --showformat='${db:Status-Abbrev}${binary:Package}\n' | sed -n 's/^ii *//p' | sort
}
work=$(mktemp -d /var/tmp/just.XXXXXX)
installed >"$work/before"
clean() {
    installed >"$work/after"
    # shellcheck disable=SC2046 # one name a word
    apt-get -qq purge --yes $(comm -13 "$work/before" "$work/after") >/dev/null
    rm -rf "$work"
    userdel just-build 2>/dev/null || true
}
trap clean EXIT

apt-get -qq install --yes --no-install-recommends dpkg-dev >/dev/null
apt-get -qq build-dep --yes --no-install-recommends "$source=$wanted" >/dev/null
# What is fetched and built needs no privilege; its user is nobody else's, so that nobody else changes what comes of it. Root
# writes nothing into that user's directory, and takes one file out of it, read by that user.
id just-build >/dev/null 2>&1 || useradd --system --no-create-home --home-dir "$work/build" --shell /usr/sbin/nologin just-build
chmod 711 "$work"
install -d -o just-build -m 700 "$work/build"
as_builder() {
    setpriv --reuid=just-build --regid=just-build --clear-groups -- env HOME="$work/build" sh -euc "cd '$work/build'; $1"
}
as_builder "apt-get -qq source '$source=$wanted'"
as_builder "cd $source-*/; DEB_BUILD_OPTIONS='nocheck noautodbgsym' dpkg-buildpackage --build=binary --no-sign" >"$work/log" 2>&1 || {
    tail -n 30 "$work/log" >&2
    exit 1
}
as_builder 'dpkg-deb --extract just_*.deb just >&2; cat just/usr/bin/just' >"$work/just"
install -D -m 0755 "$work/just" /usr/local/bin/just
mkdir -p "${stamp%/*}"
echo "$wanted" >$stamp
echo "installed just $wanted"
