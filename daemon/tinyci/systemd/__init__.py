"""systemd: its managers, units and jobs over D-Bus, and the journal as far as it is read.

It imports `dbus`, `model` and `runtime`, and python-systemd for the journal. It knows what a repo and a stage are, but
not what a deploy makes of them, nor Redis.
"""
