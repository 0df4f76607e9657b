"""The codec as the sink uses it: every column of every record, by schema."""

from collections.abc import Sequence

from schemas.decode import Decoder
from schemas.registry import Registry
from sinks.clickhouse.rows import Bad, Decode, Frame


def decoding(registry: Registry) -> Decode:
    """A `Decode` over a registry. It raises RegistryUnavailable while the registry is away, never for a bad record."""
    decoder = Decoder(registry)

    def decode(values: Sequence[bytes]) -> tuple[list[Frame], list[Bad]]:
        frames, bad = decoder.decode_frame(values)
        return (
            [Frame(frame.full_name, frame.indices, frame.data) for frame in frames],
            [Bad(index, entry.reason, entry.detail) for index, entry in sorted(bad.items())],
        )

    return decode
