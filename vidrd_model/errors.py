"""The one exception of the model library."""


class ModelError(Exception):
    """A model folder, config or weights file that cannot be used; the message is one line that names it."""
