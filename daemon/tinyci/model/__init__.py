"""The model: jobs, states, fields, repos, settings, and the rules that decide about them.

Pure: imports only the standard library and itself, does no I/O but to read configuration files, and knows neither
Redis, D-Bus nor systemd. The hook imports part of it on each push, so these files stay quick to import.
"""
