"""Errors as ClickHouse reports them: a code, a name, an HTTP status."""

import re
from typing import Self

_STATUS = {
    # Subset of exceptionCodeToHTTPStatus in ClickHouse's src/Server/HTTP/exceptionCodeToHTTPStatus.cpp.
    **dict.fromkeys((6, 26, 27, 33, 36, 38, 41, 43, 53, 62, 69, 72, 117, 130, 131, 271, 456, 457), 400),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 73, 81, 115, 372), 404),
    **dict.fromkeys((164, 192, 193, 194, 497, 516), 403),
    48: 501,
    159: 408,
    160: 408,
    307: 413,
    373: 423,
}
_CODE = re.compile(r"Code: (\d+)\. ?")


class StoreError(Exception):
    """A refused or failed request. `code` is ClickHouse's number, `text` what the client is told."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return _STATUS.get(self.code, 500)

    @classmethod
    def from_engine(cls, message: str) -> Self:
        """Error of an exception text of the engine; 1002 (UNKNOWN_EXCEPTION) when it carries no code."""
        found = _CODE.search(message)
        if found is None:
            return cls(1002, f"Code: 1002. DB::Exception: {message} (UNKNOWN_EXCEPTION)")
        return cls(int(found[1]), message[found.start() :])


def refused(code: int, name: str, reason: str) -> StoreError:
    """An error of the front itself, in the engine's form."""
    return StoreError(code, f"Code: {code}. DB::Exception: {reason} ({name})")
