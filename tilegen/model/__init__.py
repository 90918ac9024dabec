"""How pixels are made: the networks, and the file they are kept in. torch only."""
