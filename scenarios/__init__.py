"""Operators set up with stand-ins around them, as demo, benchmarks and tests need them alike."""
