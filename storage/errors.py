"""The one error of the storage layer."""

from storage.visible import visible


class StorageError(Exception):
    """A dataset, model or weight file that cannot be used; one line that names it and says what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(visible(message))
