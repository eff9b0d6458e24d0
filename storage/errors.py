"""The one error of the storage layer."""


class StorageError(Exception):
    """A dataset, model or weight file that cannot be used; one line that names it and says what to do."""
