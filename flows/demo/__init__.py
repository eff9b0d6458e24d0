"""Runs the main job from end to end on the embedded profile: `python -m flows.demo`."""
