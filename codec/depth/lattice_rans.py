"""`lattice-rans` (id 3): depth at a thirteenth to an eighteenth of its size, for the CPU of plain LZ4.

Payload: the 12-byte image header of `_images`; its mode says how to go on.

    mode 0   a whole payload of lattice-lz4, with an image header of its own: small images, noise, uint8
    mode 1   uint16; the header's palette field is the number of the context map; then

        offset  type      meaning (little-endian)
        0       u8        lanes, 2 to 32
        1       u32       bytes of side information
        5       ...       side information, a bit stream: palette, frequency tables, escapes
                u32 each  the state of each lane
                u16 each  words, to the end

Pixels become ranks, as in lattice-lz4. Each is predicted from its neighbours; a context map says to which
class it belongs; each class has a table of how often each residual comes, and rANS codes the residual by it.
docs/FORMAT.md says it all; `_context_model` and `_rans_twin` do it in NumPy, `native/` in C, to the same bit.

A context map is a file of the package and never changes; a better one gets a new number, and old frames go on
naming the old one.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from codec.depth import _native, _rans_twin
from codec.depth._context_model import NEWEST_MAP, ContextMap, context_map
from codec.depth._images import (
    DEFAULT_MAX_PIXELS,
    Image,
    ImageHeader,
    Payload,
    contiguous_image,
    output_for,
    read_header,
)
from codec.depth._plain_mode import MODE_PLAIN, PlainMode
from codec.errors import CodecError

MODE_RANS = 1
_MIN_WIDTH = 8
"""Narrower images would leave most of the coder's steps empty."""
_MAX_WIDTH = 65536


class LatticeRansCodec:
    """uint16 depth images as small as a millisecond allows; everything else as lattice-lz4 has it."""

    name = "lattice-rans"
    id = 3
    lossless = True

    def __init__(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, trial_map: ContextMap | None = None) -> None:
        """`trial_map` takes the place of the newest map, to see what a map does before it is installed."""
        self._max_pixels = max_pixels
        self._trial_map = trial_map
        self._plain = PlainMode(self.name, max_pixels=max_pixels)
        self._coder: _native.NativeRans | ModuleType = _rans_twin
        if _native.kernels is not None:
            self._coder = _native.NativeRans(_native.kernels)

    def _map(self, map_id: int) -> ContextMap:
        if self._trial_map is not None and self._trial_map.id == map_id:
            return self._trial_map
        return context_map(map_id)

    def encode(self, array: Image) -> bytes:
        image = contiguous_image(array, max_pixels=self._max_pixels)
        chosen = self._trial_map or context_map(NEWEST_MAP)
        payload = None
        if image.dtype == np.uint16 and image.size and _MIN_WIDTH <= image.shape[1] <= _MAX_WIDTH:
            body = self._coder.encode(image, chosen)
            if body is not None:
                payload = ImageHeader(MODE_RANS, 2, chosen.id, *image.shape).pack() + body
        return self._plain.unless_smaller(payload, image)

    def decode(self, data: Payload, out: Image | None = None) -> Image:
        header, body = read_header(data, codec=self.name, max_pixels=self._max_pixels)
        if header.mode == MODE_PLAIN:
            return self._plain.decode(header, body, out)
        if header.mode != MODE_RANS or header.itemsize != 2 or not header.pixels:
            raise CodecError(
                f"lattice-rans payload has an impossible header {tuple(header)}: damaged or too new"
            )
        if not _MIN_WIDTH <= header.width <= _MAX_WIDTH:
            raise CodecError(f"lattice-rans payload claims a width of {header.width}: damaged")
        chosen = self._map(header.palette)
        _rans_twin.check_sizes(body, *header.shape)  # before memory is taken for the image
        target, result = output_for(header, out)
        self._coder.decode(body, chosen, target)
        if result is not target:
            np.copyto(result, target)
        return result
