"""The life of a process, the same for every service: check, start, run, stop, exit.

Exit codes: 0 after a stop that was asked for, 1 after a crash, 2 when the settings are wrong.
"""

import asyncio
import contextlib
import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import uvloop

from shared.config.environment import ConfigProblems, load
from shared.config.process import ProcessConfig
from shared.telemetry.logging import configure_logging, get_logger

C = TypeVar("C")

EXIT_STOPPED = 0
EXIT_CRASHED = 1
EXIT_MISCONFIGURED = 2

_YOUNG_OBJECTS_MAX = 50_000
"""Requests make many short-lived objects and no cycles to speak of: Python's own 700 has the collector
look at them all the time, for some 3 % of the CPU of a request."""
_CHECK_CONFIG = "--check-config"
_PR_SET_DUMPABLE = 4  # linux/prctl.h


class Stop(asyncio.Event):
    """Set once the process has been asked to stop; also to be set by a service that must end."""


def run(
    service: str,
    config_type: type[C],
    environment: Mapping[str, str],
    arguments: Sequence[str],
    main: Callable[[C, Stop], Awaitable[None]],
) -> int:
    """Run a service and return the process's exit code.

    `arguments` are those after the program's name: none, or `--check-config`, which only validates
    the settings. `main` returns when it has drained after `stop` was set (SIGTERM or SIGINT);
    returning earlier counts as a crash.
    """
    unknown = [argument for argument in arguments if argument != _CHECK_CONFIG]
    if unknown:
        sys.stderr.write(f"unknown argument {unknown[0]}; the only one is {_CHECK_CONFIG}\n")
        return EXIT_MISCONFIGURED
    problems: list[str] = []
    process = _load(ProcessConfig, environment, problems)
    config = _load(config_type, environment, problems)
    if process is None or config is None:
        sys.stderr.writelines(f"{problem}\n" for problem in dict.fromkeys(problems))
        return EXIT_MISCONFIGURED
    if _CHECK_CONFIG in arguments:
        return EXIT_STOPPED
    _forbid_core_dumps()
    gc.set_threshold(_YOUNG_OBJECTS_MAX)
    configure_logging(service, f"{service}-{process.instance_ordinal}", process.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_stopped(main, config))


async def _until_stopped(main: Callable[[C, Stop], Awaitable[None]], config: C) -> int:
    logger = get_logger("process")
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await main(config, stop)
    except Exception:
        logger.critical("crashed", exc_info=True)
        return EXIT_CRASHED
    if not stop.is_set():
        logger.critical("crashed", reason="ended without having been asked to stop")
        return EXIT_CRASHED
    logger.info("stopped")
    return EXIT_STOPPED


def _load(kind: type[C], environment: Mapping[str, str], problems: list[str]) -> C | None:
    try:
        return load(kind, environment)
    except ConfigProblems as error:
        problems.extend(error.problems)
        return None


def _forbid_core_dumps() -> None:
    """Keep provider keys in memory out of files; also keeps other processes of the user away."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A libc without prctl, or a sandbox that refuses it, still has the limit above.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
