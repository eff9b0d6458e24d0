"""The base of all errors of the project, and that of the model library. Nothing heavy is imported for it."""


class VidrdError(Exception):
    """What the user can mend, or has to know: its message is one line that names the file or field."""


class ModelError(VidrdError):
    """A model folder, config or weights file that cannot be used; the message is one line that names it."""


class ArgumentError(ModelError, TypeError):
    """An argument that a call does not have; the message is one line that names the call and the argument."""
