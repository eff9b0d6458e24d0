"""The two errors of the tasks: the request is wrong, or one item of it is.

An address in their messages is shown without the name and password that it may hold.
"""

from storage.local.addresses import without_secrets
from storage.local.visible import visible
from vidrd_model.errors import VidrdError


class RequestError(VidrdError):
    """The request cannot be carried out; one line that names the file or field and says what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(visible(without_secrets(str(message))))


class ItemError(VidrdError):
    """One item is bad: it is quarantined with the stage it failed in, and the work goes on."""

    def __init__(self, message: str, stage: str) -> None:
        # Both in args, so the error survives pickling between workers.
        super().__init__(visible(without_secrets(message)), stage)
        self.stage = stage

    def __str__(self) -> str:
        return str(self.args[0])
