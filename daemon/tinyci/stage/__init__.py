"""The stages of a deploy, run as the repo's user in that user's manager: build, verify, rollback.

Imports `model` and `runtime.files`. Knows nothing of Redis, D-Bus or the daemon: model/stagecontract.py has all that a
stage and the daemon agree on. Each deploy starts these programs anew, so imports are kept few.
"""
