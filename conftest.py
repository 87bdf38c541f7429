"""Settings of all tests."""

from hypothesis import settings

# A loaded machine is slow, not wrong: no time limit decides a property.
settings.register_profile("kubernaut", deadline=None)
settings.load_profile("kubernaut")
