"""Shipped fakes, strategies and contracts for tests of tilegen and of what is built on it."""
