"""What every deploy stands on, looked at one by one, and for what is wrong the command that mends it.

Each file knows one thing that can be wrong: functions named judge_… get facts and give findings, and look() gets the
facts. What only the daemon sees it says itself (tinyci.diagnosis).
"""
