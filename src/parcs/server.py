"""``from parcs.server import Service, Runner, serve``: the import path of the original.

`serve` is the life of a program from start to end: what every PARCS program's last line calls.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from parcs import errors
from parcs.contract import engine as contract
from parcs.service import Runner, Service

__all__ = ["Runner", "Service", "serve"]

logger = logging.getLogger("parcs")


class _Stopped(SystemExit):
    """The engine ends this program."""


def serve(executable: Runner) -> Any:
    """Run a program from start to end; the last line of every PARCS program.

    Returns:
        What a runner's `run` returned.
    """
    set_up_logging()
    logger.info("Welcome to PARCS-Python!")
    try:
        return _live(executable)
    except errors.ParcsError as error:
        if os.environ.get("PARCS_DEBUG"):
            raise
        logger.error("%s: %s", type(error).__name__, error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        logger.error("Interrupted")
        raise SystemExit(130) from None
    finally:
        logger.info("Bye!")


def _live(executable: Runner) -> Any:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_terminate)
    _set_parameter_defaults()
    program = executable._attached
    try:
        if isinstance(executable, Service):
            logger.info("Client from %s connected", program.call_creator())
        executable.start()
        logger.info("Running your program...")
        program.start_clock()
        try:
            result = executable.run()
        finally:
            _ignore_terminate()
        if not isinstance(executable, Service):
            program.send_result(result)
            if result is not None and not program.is_managed:
                logger.info("Result: %s", result)
        return result
    except Exception as error:
        program.send_error(error)
        raise
    finally:
        try:
            executable.shutdown()
        finally:
            program.close()
            if program.summary is not None:
                logger.info("%s", program.summary.describe())


def set_up_logging() -> None:
    """Log as the original does, unless the program has set logging up already."""
    quiet = os.environ.get(contract.QUIET_VARIABLE)
    logging.basicConfig(
        format="%(asctime)s %(message)s",
        datefmt="%Y/%m/%d %H:%M:%S",
        level=logging.WARNING if quiet else logging.INFO,
    )


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise _Stopped(128 + number)


def _ignore_terminate() -> None:
    """The work is over and the goodbyes are not: being told to stop changes nothing now."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _set_parameter_defaults() -> None:
    """Started by hand, a program gets the defaults of the parcs.toml beside it."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is None or contract.ENGINE_VARIABLE in os.environ:
        return
    folder = os.path.dirname(os.path.abspath(main))
    if os.path.exists(os.path.join(folder, "parcs.toml")):
        from pathlib import Path

        from parcs.module import manifest

        for name, parameter in manifest.load(Path(folder)).parameters.items():
            if parameter.default is not None:
                os.environ.setdefault(name, parameter.default)
