"""Tells the streams of frames in a bodycompress file of ours from all others, wherever these may lie by now.

Headers, metadata and their copies stand among the frames where a block of the file was written twice or to
the wrong place, and before them where the header no longer says where they begin.
"""

from __future__ import annotations

from collections.abc import Iterator

from codec.errors import CodecError
from codec.mesh.bodycompress_format import Header, is_header
from codec.mesh.header_copies import begins_copy
from codec.mesh.msgpack_arrays import ObjectStream, pack
from codec.mesh.streams import Piece


class StrayStreams:
    """Sees every piece in order. `near_header`: the first stream may be the metadata."""

    def __init__(self, header: Header, metadata: object, *, near_header: bool) -> None:
        self._is_ours = header.is_ours
        self._metadata = metadata
        self._near_header = near_header
        self._passing = False
        self._is_first = False

    def frames_in(self, piece: Piece, objects: ObjectStream) -> Iterator[object]:
        """The objects that the piece completes, unless its stream is none of frames."""
        if piece.begins:
            self._is_first = self._is_ours and not objects.pending_bytes
            self._passing = self._is_first and begins_copy(piece.data)
            self._near_header = self._near_header or piece.resumed
        if self._passing:
            return
        for value in objects.feed(piece.data):
            if self._is_first:
                self._is_first = False
                self._passing = self._is_stray(value)
                if self._passing:
                    return
            yield value

    def _is_stray(self, value: object) -> bool:
        """Of the first object of a stream."""
        if is_header(value):
            self._near_header = True
            return True
        # A frame may be equal to the metadata, but does not stand where these are.
        near, self._near_header = self._near_header, False
        return near and _packed(value) == _packed(self._metadata)


def _packed(value: object) -> bytes | None:
    try:
        return pack(value, what="an object")
    except CodecError:
        return None
