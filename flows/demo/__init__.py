"""`python -m flows.demo`: the main job on the embedded profile."""
