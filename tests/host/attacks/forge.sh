#!/bin/sh
# Tell the daemon, as any local user can, that the restart of a unit of root's has failed: a signal to its own address needs
# no right. `forge.sh UNIT` does so for each job of that unit, and for some numbers to come.
unit=$1
addresses=$(busctl list --system --no-legend | awk '$4 == "tinyci" && $1 ~ /^:/ { print $1 }')
echo "the daemon is $addresses"
dbus-monitor --system "type='signal',sender='org.freedesktop.systemd1',member='JobNew'" | while read -r kind value; do
    case "$kind $value" in
    *member=NameAcquired) echo listening ;;
    "uint32 "*) number=$value ;;
    "string \"$unit\"")
        for job in $(seq "$number" $((number + 3))); do
            for address in $addresses; do
                dbus-send --system --type=signal --dest="$address" /org/freedesktop/systemd1 \
                    org.freedesktop.systemd1.Manager.JobRemoved uint32:"$job" \
                    objpath:/org/freedesktop/systemd1/job/"$job" string:"$unit" string:failed
            done
        done
        echo "forged the end of job $number"
        ;;
    esac
done
