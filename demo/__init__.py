"""The demo: notifications delivered on a real API server, and the proof of what that cost. Run by `make demo`.

cases      the sample notifications and what must come of each
clusters   where it runs: a control plane of its own, or an existing cluster that was named
stage      two operators side by side: one write per pass, and one per change
following  the phases as they change, by a watch
evidence   what was delivered and requested, and where that differs from what must be
report     the same for the reader
screen     a terminal that is redrawn, or plain lines
"""
