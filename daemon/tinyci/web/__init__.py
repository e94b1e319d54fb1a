"""The pages of tinyci-web: jobs and repos as HTML, as JSON, as events, and as figures for Prometheus.

Imports `store` for its view of Redis, `model`, `runtime`, and of `systemd` the journal and sockets. Writes nothing, and
knows nothing of the daemon: it shows what Redis has. No state's name stands here; looks go by kind (model/state.py).
"""
