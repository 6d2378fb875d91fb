"""The ``omni`` command of the Python package, also ``python -m omni_bridge``.

``serve`` and ``demo-server`` are Python and run here; everything else is the same Rust command line as that
of the ``omni`` binary, hosted by this process.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    Args:
        arguments: what follows the program's name; None: those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["demo-server"]:
        from .testing._command import main as demo_server  # noqa: PLC0415  # only what the command needs is loaded

        return demo_server(given[1:])
    if given[:1] == ["serve"]:
        try:
            from .service_run import main as serve  # noqa: PLC0415  # the same
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "uvicorn"):
                raise
            print(  # noqa: T201  # this is the command's output
                f"omni serve: {error.name} is not installed; mend it with: pip install 'omni-bridge[http]'",
                file=sys.stderr,
            )
            return 2
        return serve(given[1:])
    from ._native import cli_main  # noqa: PLC0415  # the same

    # The Rust side hears Ctrl-C and cancels the call; Python's handler would add a traceback to that.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return cli_main(["omni", *given])


if __name__ == "__main__":
    sys.exit(main())
