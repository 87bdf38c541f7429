"""Settings and fixtures of all tests."""

import pytest
from hypothesis import settings
from scenarios.budgets import MODES

# The scenes of faults are tests that the services' test files import.
pytest.register_assert_rewrite("scenarios.faults")

# A loaded machine is slow, not wrong: no time limit decides a property.
settings.register_profile("kubernaut", deadline=None)
settings.load_profile("kubernaut")


@pytest.fixture(scope="module", params=MODES)
def update_mode(request: pytest.FixtureRequest) -> str:
    """The mode of writing; everything that uses it is run in each."""
    return str(request.param)
