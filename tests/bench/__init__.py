"""Speeds of single steps on this machine, on the tiny profile: `make bench`."""
