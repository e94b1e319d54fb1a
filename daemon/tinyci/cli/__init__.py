"""The command line `tinyci`: a file for each command, listed in commands.py, and what they share.

It asks the daemon over D-Bus alone, and imports doctor, dbus, model and runtime; nothing of Redis. People wait for it,
so asyncio and dbus-next are imported only for commands that need them. The hook imports pushfollow.py.
"""
