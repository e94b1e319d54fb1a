"""Examination of everything that a deploy stands on, with a command that mends what is wrong.

Each file knows one thing that can be wrong: functions named judge_… make findings of facts, and look() gets the facts.
It imports dbus, store, systemd and model. It knows nothing of terminals, and asks the running daemon over D-Bus for the
checks that only the daemon can make. Each problem has a key in problems.py.
"""
