"""Captions of clips: written by a model, scored by CLIP, and kept as the states of a text encoder."""
