"""The post-receive hook: jobs for the refs of a push, at the least cost to the person who pushes.

Imports `model`, `store.keys` and, for a push that is followed, `cli`. Knows nothing of D-Bus, systemd or the daemon.
Every import counts: the whole hook takes 13 ms, half of it Python itself, and each push waits for it.
"""

from tinyci.hook.post_receive import main as main
