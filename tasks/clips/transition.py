"""What lies between two shots: a cut, or the frames of a fade or a dissolve."""

from typing import NamedTuple


class Transition(NamedTuple):
    """Frames `first` to `stop - 1` lie between two shots, none for a cut: there the next shot begins at `stop`."""

    first: int
    stop: int
