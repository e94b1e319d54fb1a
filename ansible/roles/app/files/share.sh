#!/bin/sh
# Lets a user read all that is in a repository, now and later: share.sh REPOSITORY UID. Says "shared" when it was not so.
# By an access list and not by a group: builds of several users may check out from there, and what a push brings is
# readable also where the connection of the person who pushes is older than the app, without git's newer groups.
set -eu
case $(getfacl --absolute-names --numeric --omit-header -- "$1") in
*"default:user:$2:r-x"*) exit 0 ;;
esac
# What git makes meanwhile first; the directory itself last, so that a run after one that failed begins again.
find "$1" -mindepth 1 -type d -exec setfacl --modify "default:user:$2:rX" -- {} +
setfacl --recursive --physical --modify "user:$2:rX" -- "$1"/*
setfacl --modify "user:$2:rX,default:user:$2:rX" -- "$1"
echo shared
