"""The one error of the storage layer."""

from storage.local.addresses import without_secrets
from storage.local.visible import visible
from vidrd_model.errors import VidrdError


class StorageError(VidrdError):
    """A dataset, model or weight file that cannot be used; one line that names it and says what to do.

    An address in the line is shown without the name and password that it may hold.
    """

    def __init__(self, message: object) -> None:
        super().__init__(visible(without_secrets(str(message))))
