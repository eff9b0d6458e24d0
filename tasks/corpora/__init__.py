"""Corpora: the file that lists them (`config`) and the readers that turn them into source records."""
