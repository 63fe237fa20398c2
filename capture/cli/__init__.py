"""The command line: wires one module per verb into a parser. No logic.

Exit codes: 0 done, 1 failed, 2 usage (a wrong argument or rig file), 3 done with loss.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from capture._system import explain_import_error
from codec.errors import ConfigError, NightrigError, StorageError

_VERBS = (
    "cameras",
    "doctor",
    "record",
    "calibrate",
    "info",
    "play",
    "verify",
    "recover",
    "export",
    "estimate",
    "fit",
    "recompress",
    "convert",
    "models",
)
_DESCRIPTION = "Record people overnight with depth cameras and webcams, lose nothing, read it all back."
_EPILOG = """examples:
  nightrig record demo              ten seconds of two simulated cameras, no hardware needed
  nightrig cameras                  what is plugged in
  nightrig doctor my-rig.toml       does this rig fit this machine and this disk
  nightrig record my-rig.toml       record until Ctrl-C
  nightrig verify recordings/...    is every frame there, and right

`nightrig VERB --help` explains each verb. Exit codes: 0 done, 1 failed, 2 usage, 3 done with loss."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else here does; the usage is one `--help` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"nightrig: {message}; see `{self.prog} --help`\n")


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser. With `verb` only that verb's module is imported: the others' imports cost time."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser("nightrig", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"nightrig {_version()}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in (verb,) if verb in _VERBS else _VERBS:
        module = _module(str(name))
        child = verbs.add_parser(
            str(name), help=module.HELP, description=module.HELP, epilog=module.EPILOG, formatter_class=raw
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run, refuse=child.error)
    return parser


def _module(verb: str) -> ModuleType:
    return import_module(f"capture.cli.{verb}")


def _version() -> str:
    try:
        return version("nightrig")
    except PackageNotFoundError:
        return "(not installed)"


def _print_any_name() -> None:
    """Names on the disk are bytes: one that is no text, or not in this encoding, is told with escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _refuse_impossible_names(args: argparse.Namespace) -> None:
    """Names that are too long, or lie where nobody may look, before a verb looks. Raises StorageError."""
    for value in vars(args).values():
        if isinstance(value, Path):
            try:
                value.lstat()
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.EACCES):
                    raise StorageError(f"cannot look at {value}: {error.strerror}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; what goes wrong is one line on stderr."""
    _print_any_name()
    argv = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((word for word in argv if not word.startswith("-")), None)
    try:
        args, unknown = build_parser(verb).parse_known_args(argv)
        if unknown:  # argparse itself would point to the help of all verbs
            args.refuse(f"unrecognized arguments: {' '.join(unknown)}")
        _refuse_impossible_names(args)
        return int(args.run(args))
    except ConfigError as error:
        print(f"nightrig: {error}", file=sys.stderr)
        return 2
    except NightrigError as error:
        print(f"nightrig: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        explanation = explain_import_error(error)
        if explanation is None:
            raise
        print(f"nightrig: {explanation}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has seen enough (`nightrig info ... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("nightrig: interrupted", file=sys.stderr)
        return 130
