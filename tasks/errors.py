"""The two errors of the tasks: the request is wrong, or one item of it is."""

from storage.visible import visible


class RequestError(Exception):
    """The request cannot be carried out; one line that names the file or field and says what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(visible(message))


class ItemError(Exception):
    """One item is bad: it is quarantined with the stage it failed in, and the work goes on."""

    def __init__(self, message: str, stage: str) -> None:
        super().__init__(
            visible(message), stage
        )  # both in args, so the error survives pickling between workers
        self.stage = stage

    def __str__(self) -> str:
        return str(self.args[0])
