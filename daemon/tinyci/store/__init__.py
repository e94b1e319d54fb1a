"""tinyci's keys in Redis: their names, a writer that waits for Redis, a viewer that does not, a group of readers.

Imports `model` and `runtime`; the only room that knows redis. This file imports nothing, since the hook, which takes
`keys` from here, must start in milliseconds. Knows nothing of systemd, D-Bus or the deploy.
"""
