"""Evaluation: generated videos against a reference folder, and the gate a candidate has to pass."""
