"""Settings of Hypothesis: no deadline, since a busy machine is not a defect."""

from hypothesis import settings

settings.register_profile("tinyci", deadline=None)
settings.load_profile("tinyci")
