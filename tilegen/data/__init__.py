"""From real imagery to one packed file that training reads: find, check, stretch, split, write; and reading it."""
