"""Plan, render and schedule tiles, and write them to sinks. Knows nothing of networks."""
