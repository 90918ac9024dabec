"""Compiled kernels for CPUs, and how they are found. Each has a plain twin in torch that tests hold it against."""
