"""Corpora of images and videos to a tagged dataset: the flow `build-dataset`."""

from vidrd_model.lazy import lazy_names

# Deployments made before the flows were folders name them here.
__getattr__ = lazy_names(__name__, {"build_dataset": "flow", "BuildDatasetParams": "request"})
