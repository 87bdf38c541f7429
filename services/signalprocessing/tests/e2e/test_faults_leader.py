"""A leader that is cut off, frozen or told to end, each time with targets being read."""

import pytest
from scenarios.faults import full, leader
from scenarios.faults.leader import (
    test_a_leader_that_is_frozen_in_the_middle_of_work_repeats_and_overwrites_nothing,
    test_a_leader_that_is_told_to_end_under_load_takes_in_nothing_ends_its_passes_and_releases_its_lease,
)

pytestmark = [pytest.mark.e2e, pytest.mark.behaviour("W11")]

test_a_leader_that_cannot_reach_its_lease_is_silent_before_another_acts = full(
    leader.test_a_leader_that_cannot_reach_its_lease_is_silent_before_another_acts
)
