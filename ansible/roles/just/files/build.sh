#!/bin/sh
# Builds just from Debian's source package, installs it as /usr/local/bin/just, and leaves nothing else behind.
# Run as root on the server.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

source=rust-just
stamp=/usr/local/share/just/source-version

# The places that Debian's own packages come from, for sources. A place without a key of its own keeps the variable.
lists=/etc/apt/sources.list.d/just-source.list
# shellcheck disable=SC2016 # apt's own variables
apt-get indextargets --format 'deb-src [signed-by=$(SIGNED_BY)] $(REPO_URI) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    sed 's/ \[signed-by=$(SIGNED_BY)\]//' | sort -u >$lists.new
if ! cmp -s $lists.new $lists; then
    mv $lists.new $lists
    apt-get -qq update
else
    rm $lists.new
fi

wanted=$(apt-cache showsrc --only-source $source | sed -n 's/^Version: //p' | sort --version-sort | tail -n 1)
[ -n "$wanted" ] || {
    echo "Debian has no source package $source in what $lists names: set just_from_source: false" >&2
    exit 1
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
}
trap clean EXIT

apt-get -qq install --yes --no-install-recommends dpkg-dev >/dev/null
apt-get -qq build-dep --yes --no-install-recommends "$source=$wanted" >/dev/null
mkdir "$work/build"
chown nobody "$work" "$work/build"
cd "$work/build"
# What is fetched and built needs no privilege.
as_nobody() {
    setpriv --reuid=nobody --regid=nogroup --clear-groups -- env HOME="$work/build" "$@"
}
as_nobody apt-get -qq source "$source=$wanted"
(
    cd "$source"-*/
    as_nobody env DEB_BUILD_OPTIONS='nocheck noautodbgsym' dpkg-buildpackage --build=binary --no-sign >"$work/build/log" 2>&1
) || {
    tail -n 30 "$work/build/log" >&2
    exit 1
}
dpkg-deb --extract just_*.deb "$work/just"
install -D -m 0755 "$work/just/usr/bin/just" /usr/local/bin/just
mkdir -p "${stamp%/*}"
echo "$wanted" >$stamp
echo "installed just $wanted"
