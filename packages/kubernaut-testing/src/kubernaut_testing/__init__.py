"""A real Kubernetes control plane, a request ledger and a fault proxy for operator tests."""
