"""The demo: what each service does on a real API server, and the proof of what that cost. Run by `make demo`.

chapters   the services, one module each: their samples, and what must come of them
chapter    what a chapter is, and what all of them do alike
cases      what a sample is; requests what it may cost
places     where it runs: a control plane of its own, or an existing cluster that was named
clusters   an existing cluster, and what is left behind there: nothing
ground     what the chapters stand on, wherever that is
following  the objects as kubectl shows them, by a watch
evidence   what was requested, and where anything differs from what must be
report     the same for the reader
screen     a terminal that is redrawn, or plain lines
"""
