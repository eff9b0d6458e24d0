"""This machine and user: where things lie, small files that change at once, secrets, paths and words of others."""
