"""What an operator process needs around kopf: store, queue, leader election, config, probes, metrics."""
