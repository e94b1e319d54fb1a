"""The daemon: takes jobs in, begins them as the schedule says, carries them through their stages, answers requests.

Imports `api`, `store`, `systemd`, `dbus`, `model`, `runtime`. Knows nothing of containers or checkouts, which are the
stages' matter, nor of the command line, the pages and notifications, which use the API and Redis.
"""
