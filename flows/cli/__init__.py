"""The `vidrd` command."""

from vidrd_model.lazy import lazy_names

__getattr__ = lazy_names(__name__, {"main": "app"})
