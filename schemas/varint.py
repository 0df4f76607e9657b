"""Avro's variable-length integers (specification 1.12, "Primitive Types")."""


def zigzag(number: int) -> bytes:
    """A signed 64-bit integer as Avro writes int and long. Raises OverflowError outside 64 bits."""
    if not -(1 << 63) <= number < 1 << 63:
        raise OverflowError("integer does not fit 64 bits")
    return varint((number << 1) ^ (number >> 63))


def varint(number: int) -> bytes:
    """A non-negative integer, seven bits a byte, least significant first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
