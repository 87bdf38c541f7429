"""Status writes that are lost, refused or raced."""

import pytest
from scenarios.faults import full, writes
from scenarios.faults.writes import (
    test_a_storm_of_foreign_writes_costs_conflicts_and_neither_results_nor_foreign_conditions,
    test_each_fault_of_a_write_at_each_write_of_a_life_changes_nothing_that_lasts,
)

pytestmark = pytest.mark.e2e

test_a_third_of_all_answers_lost_is_nothing_lost_and_nothing_twice = full(
    writes.test_a_third_of_all_answers_lost_is_nothing_lost_and_nothing_twice
)
test_a_busy_api_server_gets_the_time_that_it_asks_for_and_the_lease_stays = full(
    writes.test_a_busy_api_server_gets_the_time_that_it_asks_for_and_the_lease_stays
)
test_an_api_server_that_fails_or_forbids_for_a_while_loses_no_result = full(
    writes.test_an_api_server_that_fails_or_forbids_for_a_while_loses_no_result
)
