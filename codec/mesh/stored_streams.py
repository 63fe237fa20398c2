"""An .xz stream or a zstd frame around bytes that it holds as they are, uncompressed.

Any decompressor reads them and holds them against their checksum. Two of equal length are equal in length
and differ only where their content does and in the checksum near the end: so a header can be rewritten in
place by its last bytes.
"""

from __future__ import annotations

import zlib

from codec.mesh.xxhash64 import xxh64

XZ_MAGIC = b"\xfd7zXZ\x00"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_XZ_CHECK_CRC32 = b"\x00\x01"
_XZ_CHUNK_BYTES = 1 << 16
_ZSTD_BLOCK_BYTES = 1 << 17
# Frame header descriptor: 32 bits of content size, one segment, a checksum, no dictionary.
_ZSTD_DESCRIPTOR = b"\xa4"


def stored_xz(data: bytes) -> bytes:
    """One .xz stream of one LZMA2 block of uncompressed chunks, with a CRC-32. `data` is not empty."""
    flags = _XZ_CHECK_CRC32
    # Size (8 bytes before the CRC), no options; filter LZMA2 with one byte: a dictionary of 64 KiB.
    block_header = _with_crc(b"\x02\x00\x21\x01\x08\x00\x00\x00")
    chunks = bytearray()
    for start in range(0, len(data), _XZ_CHUNK_BYTES):
        part = data[start : start + _XZ_CHUNK_BYTES]
        control = b"\x02" if start else b"\x01"  # the first resets the dictionary
        chunks += control + (len(part) - 1).to_bytes(2, "big") + part
    chunks += b"\x00"
    check = zlib.crc32(data).to_bytes(4, "little")
    unpadded_bytes = len(block_header) + len(chunks) + len(check)
    index = b"\x00\x01" + _variable_length(unpadded_bytes) + _variable_length(len(data))
    index = _with_crc(_padded(index))
    backward = (len(index) // 4 - 1).to_bytes(4, "little") + flags
    return b"".join(
        (
            XZ_MAGIC + flags + zlib.crc32(flags).to_bytes(4, "little"),
            block_header,
            _padded(bytes(chunks)),
            check,
            index,
            zlib.crc32(backward).to_bytes(4, "little") + backward + b"YZ",
        )
    )


def stored_zstd(data: bytes) -> bytes:
    """One zstd frame of raw blocks, with its checksum."""
    out = bytearray(ZSTD_MAGIC + _ZSTD_DESCRIPTOR + len(data).to_bytes(4, "little"))
    for start in range(0, len(data), _ZSTD_BLOCK_BYTES):
        part = data[start : start + _ZSTD_BLOCK_BYTES]
        last = start + len(part) == len(data)
        out += (len(part) << 3 | last).to_bytes(3, "little") + part
    return bytes(out) + (xxh64(data) & 0xFFFFFFFF).to_bytes(4, "little")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _with_crc(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


def _variable_length(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])
