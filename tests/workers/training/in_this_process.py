"""What stands where a pool of processes is, which take seconds to start? This process alone."""

from types import TracebackType
from typing import Any


class InThisProcess:
    """Does what a `ProcessPoolExecutor` does, at once; `started` counts how many there were."""

    started = 0

    def __init__(self, _processes: int, *, initializer: Any, initargs: Any, **_more: Any) -> None:
        type(self).started += 1
        initializer(*initargs)

    def __enter__(self) -> "InThisProcess":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        pass

    map = staticmethod(map)
