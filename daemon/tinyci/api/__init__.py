"""org.tinyci1 on the system bus: a manager, an object for each job, and polkit's word on who may change something.

Imports `dbus`, `store`, `runtime` and `model`. Knows the daemon only as the protocol of `requests.py`, and neither
systemd's managers nor the stages of a deploy.
"""
