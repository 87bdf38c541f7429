"""The local kubelet: runs the pods of a real control plane as isolated processes of this machine.

So a Helm chart is tested as it will be used: its Deployment is rolled out by the real controllers, its command,
environment, mounts, probes and ServiceAccount token are those that the chart asks for, under the RBAC that the chart
grants. No container engine, no images, no root.
"""

from __future__ import annotations

from kubernaut_testing.kubelet.context import Settings
from kubernaut_testing.kubelet.images import Image
from kubernaut_testing.kubelet.local import LocalKubelet
from kubernaut_testing.kubelet.sandbox import isolation_available

__all__ = ["Image", "LocalKubelet", "Settings", "isolation_available"]
