"""An API server that is slow, or that does not know us for a while."""

import pytest
from scenarios.faults import full, slow

pytestmark = pytest.mark.e2e

test_an_api_server_that_takes_long_for_every_call_is_waited_for_by_all_objects_side_by_side = full(
    slow.test_an_api_server_that_takes_long_for_every_call_is_waited_for_by_all_objects_side_by_side
)
test_a_call_that_hangs_holds_up_its_own_object_only_and_is_given_up_in_time = full(
    slow.test_a_call_that_hangs_holds_up_its_own_object_only_and_is_given_up_in_time
)
test_a_token_that_has_expired_is_read_again_when_its_file_is_rotated = full(
    slow.test_a_token_that_has_expired_is_read_again_when_its_file_is_rotated
)
