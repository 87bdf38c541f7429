"""The API server, etcd and the CRD go away and come back, on a control plane of their own."""

import pytest
from scenarios.faults import full, restart
from scenarios.faults.restart import own_control_plane

pytestmark = pytest.mark.e2e

test_a_restart_of_the_servers_loses_no_object_and_repeats_none = full(
    restart.test_a_restart_of_the_servers_loses_no_object_and_repeats_none
)
test_a_crd_that_is_deleted_and_installed_again_is_watched_again = full(
    restart.test_a_crd_that_is_deleted_and_installed_again_is_watched_again
)
