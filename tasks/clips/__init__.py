"""Clips of N frames out of images, short videos and long videos; `from_source.clips_of` is the way in."""
