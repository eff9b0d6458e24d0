"""A dataset folder: its tables, their versions and rows, and their upkeep."""
