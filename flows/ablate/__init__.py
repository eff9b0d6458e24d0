"""The paper's experiments: the flow `ablate`."""

from vidrd_model.lazy import lazy_names

# Deployments made before the flows were folders name them here.
__getattr__ = lazy_names(__name__, {"ablate": "flow", "AblateParams": "request"})
