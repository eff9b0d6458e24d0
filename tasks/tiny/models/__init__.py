"""The recipe that trains the models of the profile `tiny` from scratch, on the CPU, on the tiny world."""
