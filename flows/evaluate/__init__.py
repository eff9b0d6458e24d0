"""A model, or finished videos, against real ones: the flow `evaluate`."""

from vidrd_model.lazy import lazy_names

# Deployments made before the flows were folders name them here.
__getattr__ = lazy_names(__name__, {"evaluate": "flow", "EvaluateParams": "request"})
