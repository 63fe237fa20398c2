"""The native kernels, where they were built: the only module that passes them addresses.

`kernels` is the module `codec.depth._kernels`, or None: it was not built (no compiler at hand when the
package was installed), or NIGHTRIG_NO_KERNELS=1 asks for the NumPy twins. The classes here keep a kernel's
buffers and answer for the sizes; one instance belongs to one thread.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt

from codec.depth._context_model import ContextMap
from codec.depth._images import Image
from codec.errors import CodecError
from codec.kernel_modules import address_of, load_kernels

U8 = npt.NDArray[np.uint8]

_ALIGNMENT = 64
_DAMAGED = -1


kernels = load_kernels("codec.depth._kernels")


class Workspace:
    """Aligned scratch memory that grows to what was last asked for."""

    def __init__(self) -> None:
        self._memory: U8 = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        if self._memory.size < size + _ALIGNMENT:
            self._memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = address_of(self._memory)
        return start + -start % _ALIGNMENT


class NativeRans:
    """`lattice-rans` by the kernel. The same interface as the functions of `_rans_twin`."""

    def __init__(self, module: ModuleType) -> None:
        self._kernels = module
        self._workspace = Workspace()
        self._out: U8 = np.empty(0, np.uint8)
        self._checked: dict[int, ContextMap] = {}  # kept, so that no other map can have the same id

    def _map_address(self, context_map: ContextMap) -> int:
        content = context_map.content
        if id(context_map) not in self._checked:
            if self._kernels.rans_check_map(address_of(content), content.size):
                raise CodecError(f"context map {context_map.id} is damaged")
            self._checked[id(context_map)] = context_map
        return address_of(content)

    def encode(self, image: Image, context_map: ContextMap) -> bytes | None:
        """The body of a payload, or None where the image must be stored in another way."""
        height, width = image.shape
        # Symbols take at most 12 bits and escapes, a quarter of the pixels at most, 31; the rest is tables.
        room = 3 * image.size + 2**17
        if self._out.size < room:
            self._out = np.empty(room, np.uint8)
        workspace_bytes = self._kernels.rans_encoder_bytes(height, width)
        if not workspace_bytes:
            return None
        size = self._kernels.rans_encode(
            address_of(image),
            height,
            width,
            self._map_address(context_map),
            address_of(self._out),
            room,
            self._workspace.address(workspace_bytes),
        )
        return self._out[:size].tobytes() if size > 0 else None

    def decode(self, body: memoryview, context_map: ContextMap, target: Image) -> None:
        """Fill `target`, uint16 in C order. Raises CodecError."""
        height, width = target.shape
        data = np.frombuffer(body, np.uint8)
        workspace_bytes = self._kernels.rans_decoder_bytes(height, width)
        if not workspace_bytes:
            raise CodecError(
                f"lattice-rans payload claims {height} x {width} pixels: too large for this machine"
            )
        failed = self._kernels.rans_decode(
            address_of(data),
            data.size,
            height,
            width,
            self._map_address(context_map),
            address_of(target),
            self._workspace.address(workspace_bytes),
        )
        if failed:
            raise CodecError("lattice-rans payload does not decode: damaged")


class NativeMax:
    """`max` by the kernel. The same interface as the functions of `_max_twin`."""

    def __init__(self, module: ModuleType) -> None:
        self._kernels = module
        self._workspace = Workspace()
        self._out: U8 = np.empty(0, np.uint8)

    def encode(self, image: Image) -> bytes | None:
        """The stream, or None where the image must be stored in another way."""
        height, width = image.shape
        # Longer than this, and byte planes that LZ4 could not compress at all are shorter.
        room = image.nbytes + image.nbytes // 128 + 2**14
        if self._out.size < room:
            self._out = np.empty(room, np.uint8)
        size = self._kernels.max_encode(
            address_of(image),
            height,
            width,
            address_of(self._out),
            room,
            self._workspace.address(self._kernels.max_workspace_bytes(width)),
        )
        return self._out[:size].tobytes() if size > 0 else None

    def decode(self, body: memoryview, target: Image) -> None:
        """Fill `target`, uint16 in C order. Raises CodecError."""
        height, width = target.shape
        data = np.frombuffer(body, np.uint8)
        failed = self._kernels.max_decode(
            address_of(data),
            data.size,
            height,
            width,
            address_of(target),
            self._workspace.address(self._kernels.max_workspace_bytes(width)),
        )
        if failed:
            raise CodecError("max payload does not decode: damaged")
