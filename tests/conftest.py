"""Settings of all tests."""

from hypothesis import settings

# Specs build their validators on first use, and CI machines stall: no deadline for one example.
settings.register_profile("tokencost", deadline=None)
settings.load_profile("tokencost")
