"""Write Kubernetes status atomically: one conditional, validated write per reconcile pass."""
