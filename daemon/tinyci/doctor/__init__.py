"""Examination of everything that a deploy stands on, with a command that mends what is wrong.

Each file knows one thing that can be wrong: functions named judge_… make findings of facts, and look() gets the facts.
It imports dbus, store, systemd, model and names of api; it knows nothing of terminals, and asks the running daemon over
D-Bus for what only the daemon sees. All that can be wrong has a key in problems.py.
"""
