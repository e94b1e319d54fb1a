#!/bin/sh
# Takes over a repository that somebody else made: adopt.sh REPOSITORY GROUP. It belongs to git afterwards.
# Says "took it over", and then what is not in force any more. Refuses what would let the former owner decide on git's work.
set -eu
cd "$1"
if [ ! -e HEAD ] || [ -z "$(find . ! -user git -print -quit)" ]; then
    exit 0
fi
as_git() {
    runuser --user=git -- "$@"
}
refuse() {
    echo "$1: $2" >&2
    exit 1
}

# Names that lead git, or the chown below, to what somebody else may change at any time. Hooks are not run any more.
check() {
    for name in .git commondir gitdir config.worktree; do
        if [ -e "$name" ] || [ -L "$name" ]; then
            refuse "$1/$name" "it leads git to another configuration: remove it"
        fi
    done
    link=$(find . -path ./hooks -prune -o -type l -print -quit)
    [ -z "$link" ] || refuse "$1/${link#./}" "it is a link: put what it leads to in its place"
}
check "$1"
[ ! -s objects/info/alternates ] || while read -r place || [ -n "$place" ]; do
    case $place in '' | '#'*) continue ;; /*) ;; *) place=objects/$place ;; esac
    as_git test -r "$place" -a -x "$place" ||
        refuse "$1/objects/info/alternates" "git cannot read the objects in $place: run 'git repack -ad' there and remove the file"
done <objects/info/alternates

echo "took it over"
chown -R git:"$2" .
# Root's until all is done, so that a run after one that failed begins again.
touch adopting
chmod -R u+rwX,g+rX,g-w,o-rwx .
find . -type d -exec chmod g+s {} +
# Nobody else changes it from here on; this counts.
check "$1"

# The old configuration is only read, as text, and never in force. What stays says how the repository is stored.
new=$(mktemp /tmp/adopt.XXXXXX)
trap 'rm -f "$new" "$new.keys"' EXIT
as_git git config --file config --no-includes --name-only --list 2>/dev/null </dev/null >"$new.keys" ||
    refuse "$1/config" "git cannot read it: mend it"
for key in core.repositoryformatversion core.filemode extensions.objectformat extensions.refstorage; do
    if value=$(as_git git config --file config --no-includes --get "$key"); then
        git config --file "$new" "$key" "$value"
    fi
done
git config --file "$new" core.bare true
install -o git -g "$2" -m 0640 "$new" config.new
mv config.new config
sort -u "$new.keys" | while read -r key; do
    case $key in
    core.repositoryformatversion | core.filemode | core.bare | core.logallrefupdates) ;;
    core.sharedrepository | core.hookspath | receive.advertisepushoptions) ;;
    extensions.objectformat | extensions.refstorage) ;;
    *) printf 'not set any more: %s\n' "$key" ;;
    esac
done
if [ -e objects/info/alternates ]; then
    as_git git -C "$1" repack -adq </dev/null >&2
    rm objects/info/alternates
    echo "brought in: the objects that objects/info/alternates named"
fi
find hooks -type f -executable ! -name '*.sample' -printf 'not run any more: %p\n' 2>/dev/null || true
find hooks -type l -printf 'not run any more: %p\n' 2>/dev/null || true
rm adopting
