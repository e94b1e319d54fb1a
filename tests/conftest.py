"""The same circumstances on every machine: programs speak English, and a busy machine is not a defect."""

import os

from hypothesis import settings

os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("LANGUAGE", None)

settings.register_profile("tinyci", deadline=None)
settings.load_profile("tinyci")
