"""Fields: values that are functions of (seed, absolute coordinates) and of nothing else."""
