"""Where a child process begins (see capture.spawn). Imports nothing heavy before its entry is known."""

import signal

# What is meant for the whole group (Ctrl-C, `timeout`, a service manager's stop) is the supervisor's to act
# on: it tells us in its own order.
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

import os  # noqa: E402 - the signals must be settled first
import pickle  # noqa: E402
import sys  # noqa: E402


def main() -> int:
    """Run the entry function named in the job behind the descriptor in argv[1]."""
    # This file was started by its path, which puts its folder, not the one of the packages, first.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    from importlib import import_module

    from capture.spawn import Link

    with open(int(sys.argv[1]), "rb") as file:  # noqa: PTH123 - a descriptor
        entry, job, control_fd, event_fd = pickle.load(file)
    module, function = entry.split(":")
    link = Link(control_fd, event_fd)
    from codec.errors import NightrigError

    try:
        return int(getattr(import_module(module), function)(job, link) or 0)
    except NightrigError as error:
        link.event("error", message=str(error), type=type(error).__name__)
        return 1
    except ImportError as error:
        from capture._system import explain_import_error

        explanation = explain_import_error(error)
        if explanation is None:
            raise
        link.event("error", message=explanation, type="ImportError")
        return 1


if __name__ == "__main__":
    sys.exit(main())
