"""Records as bytes, of the schemas themselves, so that no column can be misspelt."""

from schemas.encode_contents import ContentsEncoder


class RecordEncoder(ContentsEncoder):
    """Encodes the contents of events by field name: `(full_name, content) -> bytes`. Raises EncodeError."""
