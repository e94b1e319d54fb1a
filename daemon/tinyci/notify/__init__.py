"""The process tinyci-notify: messages to people about deploys that ended.

An event goes through groupreader, event, policy, digest, queue, delivery, message, senderprocess and, in a process of
its own, sender, in this order. Imports store, model, runtime and log; alone in importing apprise. Knows nothing of the
daemon, of systemd's units or of D-Bus.
"""
