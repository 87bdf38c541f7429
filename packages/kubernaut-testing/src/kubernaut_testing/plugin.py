"""The pytest plugin: control plane, ledger and fault proxy as fixtures."""
