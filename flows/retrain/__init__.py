"""A dataset to a registered candidate: the flow `retrain`."""

from vidrd_model.lazy import lazy_names

# Deployments made before the flows were folders name them here.
__getattr__ = lazy_names(__name__, {"retrain": "flow", "RetrainParams": "request"})
