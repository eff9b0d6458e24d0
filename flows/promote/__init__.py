"""The candidate to champion, where the gate finds it better: the flow `promote`."""

from vidrd_model.lazy import lazy_names

# Deployments made before the flows were folders name them here.
__getattr__ = lazy_names(__name__, {"promote": "flow", "PromoteParams": "request"})
