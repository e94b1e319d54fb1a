"""The same circumstances on every machine: programs speak English, and a busy machine is not a defect."""

import os
from pathlib import Path

from hypothesis import settings

os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("LANGUAGE", None)
# What tests start runs the code of their own tree, wherever the environment has tinyci from.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "daemon")

settings.register_profile("tinyci", deadline=None)
settings.load_profile("tinyci")
