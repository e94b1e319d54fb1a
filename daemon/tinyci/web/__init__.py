"""The pages of tinyci-web: jobs and repos as HTML, as JSON, as events, and as figures for Prometheus.

Imports `model`, `runtime`, `log`, the view of Redis in `store`, and the inherited sockets in `systemd`. Writes nothing,
and knows neither the daemon nor D-Bus: it shows what Redis has. Looks go by the kind of a state (model/state.py), so
that a new state or field needs no change here.
"""
