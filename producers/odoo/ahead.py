"""Reading one step ahead of the work: the next answer is on its way while this one is processed."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """`items`, drawn by a thread of their own, at most `depth` of them waiting.

    What drawing raises is raised here. When this generator is closed early, drawing stops after the item under way.
    """
    waiting: queue.Queue[object] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: object) -> bool:
        while not closed.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def draw() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:
            put(_Raised(error))
        else:
            put(_END)

    thread = threading.Thread(target=draw, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if item is _END:
                return
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()


class _Raised:
    """An exception on its way to the other thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
