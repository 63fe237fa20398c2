"""The one package that opens, appends, syncs, renames and truncates. Everybody writes through it.

What it promises: an append is whole or not there at all, as far as the running system is concerned; a
file it created survives a power cut with its name and everything up to the last successful sync(); an
existing file is never overwritten by create; after a failed sync a file takes no more appends, because
Linux reports a lost page once and then calls it clean; a file that is being written is held, and
hold() tells others so. A call that a signal breaks off is made again.

What it cannot promise: what a drive does with a cache it does not flush. The degree to which sync()
reaches the platter depends on the file system and the hardware. Where a file system has no locks, nothing
is ever held.

    append      AppendFile: a file that only grows
    syncing     SyncThread: syncs by time and by amount, beside the thread that writes
    holding     who writes a file holds it
    replacing   one file in the place of another
    folders     names that last, room on the disk
    lines       journals that several processes append to
    system      the calls themselves; tests put failing ones in their place
"""

from codec.durable.append import AppendFile
from codec.durable.folders import make_directory, make_new_directory, require_room, sync_directory
from codec.durable.holding import hold
from codec.durable.lines import append_line
from codec.durable.replacing import (
    delete_file,
    drop_from_memory,
    publish_file,
    remove_file,
    replace_file,
    supersede_file,
    write_atomically,
)
from codec.durable.syncing import SyncThread
from codec.durable.system import Chunk, free_bytes

__all__ = [
    "AppendFile",
    "Chunk",
    "SyncThread",
    "append_line",
    "delete_file",
    "drop_from_memory",
    "free_bytes",
    "hold",
    "make_directory",
    "make_new_directory",
    "publish_file",
    "remove_file",
    "replace_file",
    "require_room",
    "supersede_file",
    "sync_directory",
    "write_atomically",
]
