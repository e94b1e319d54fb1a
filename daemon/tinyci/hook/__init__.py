"""The post-receive hook: what a push costs the pusher.

Imports `model`, `store.keys` and, for a push that is followed, `cli`. Knows nothing of D-Bus or systemd.
"""

from tinyci.hook.post_receive import main as main
