"""Facts about the API server that the package is built on; a server that differs breaks these first."""

from widget_shop import Shop


def test_a_merge_patch_with_an_old_resource_version_gets_409(shop: Shop) -> None:
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    body = {"metadata": {"resourceVersion": widget["metadata"]["resourceVersion"]}, "status": {"coats": 2}}
    assert shop.send("PATCH", shop.status_path("w"), body)[0] == 409


def test_a_merge_patch_without_one_replaces_lists_silently(shop: Shop) -> None:
    shop.create("w", attempts=[{"channel": "a", "attempt": 1}])
    code, widget = shop.send("PATCH", shop.status_path("w"), {"status": {"attempts": []}})
    assert (code, widget["status"]["attempts"]) == (200, [])


def test_a_failing_json_patch_test_gets_422(shop: Shop) -> None:
    shop.create("w")
    patch = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]
    assert shop.send("PATCH", shop.status_path("w"), patch, "application/json-patch+json")[0] == 422


def test_a_uid_in_a_status_patch_guards_nothing(shop: Shop) -> None:
    shop.create("w")
    body = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "status": {"coats": 1}}
    code, widget = shop.send("PATCH", shop.status_path("w"), body)
    assert (code, widget["status"]["coats"]) == (200, 1)


def test_identical_content_makes_no_new_resource_version(shop: Shop) -> None:
    before = shop.create("w", coats=1)
    code, after = shop.send("PATCH", shop.status_path("w"), {"status": {"coats": 1}})
    assert (code, after["metadata"]["resourceVersion"]) == (200, before["metadata"]["resourceVersion"])


def test_the_status_subresource_keeps_spec_and_generation(shop: Shop) -> None:
    before = shop.create("w")
    code, after = shop.send("PATCH", shop.status_path("w"), {"spec": {"color": "green"}, "status": {"coats": 1}})
    assert code == 200
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])


def test_the_schema_prunes_unknown_fields_silently(shop: Shop) -> None:
    shop.create("w")
    code, after = shop.send("PATCH", shop.status_path("w"), {"status": {"coats": 1, "unheardOf": 1}})
    assert (code, after["status"]) == (200, {"coats": 1})
