"""Which clips are kept: by what was measured of them, and one of those that look the same."""
