"""The SignalProcessing controller: enriches signals and classifies them, one status write per phase."""

from importlib.metadata import version

__version__ = version("kubernaut-signalprocessing")
