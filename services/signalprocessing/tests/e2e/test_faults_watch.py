"""Watches that break, lie or fall silent."""

import pytest
from scenarios.faults import full, watch
from scenarios.faults.watch import (
    test_a_stale_list_after_a_restart_repeats_nothing,
    test_events_that_are_doubled_reordered_repeated_or_swallowed_change_nothing,
)

pytestmark = pytest.mark.e2e

test_watches_that_are_cut_every_two_seconds_are_resumed_and_cause_no_list = full(
    watch.test_watches_that_are_cut_every_two_seconds_are_resumed_and_cause_no_list
)
test_a_watch_that_ends_in_an_error_finds_what_came_and_forgets_what_went_meanwhile = full(
    watch.test_a_watch_that_ends_in_an_error_finds_what_came_and_forgets_what_went_meanwhile
)
test_what_a_silent_watch_does_not_tell_is_found_by_the_sweep = full(
    watch.test_what_a_silent_watch_does_not_tell_is_found_by_the_sweep
)
