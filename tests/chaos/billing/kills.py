"""Who is killed, when, and started again."""

import asyncio
import random  # noqa: TID251 - handed in, with its seed
import sys
import time
from collections import Counter

from deploy.local.errors import StackError
from deploy.local.stack import Stack, Stage

VICTIMS = ("billing", "postgres", "kafka")
_PAUSE_SECONDS = (3.0, 9.0)
_TWO_AT_ONCE = 0.25
_RESTARTS_MAX = 3
_LINE_CHARACTERS_MAX = 4_000


class Kills:
    """Kills at random until time is over; the same seed kills the same in the same order."""

    def __init__(self, stack: Stack, choose: random.Random) -> None:
        """`choose` decides whom and when."""
        self._stack = stack
        self._choose = choose
        self._pids: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.died: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Kill and restart until so many seconds are over."""
        end = time.monotonic() + seconds
        self._pids = self._stack.manifest["pids"]
        while True:
            await asyncio.sleep(self._choose.uniform(*_PAUSE_SECONDS))
            if time.monotonic() > end:
                return
            many = 2 if self._choose.random() < _TWO_AT_ONCE else 1
            victims = self._choose.sample(VICTIMS, many)
            sys.stderr.write(f"kill -9 {' and '.join(victims)}\n")
            for victim in victims:
                await asyncio.to_thread(self._stack.kill, victim)
                self.counts[victim] += 1
                self._pids.pop(victim, None)
            await self.restart()

    async def restart(self) -> None:
        """Start again what does not run, and note what died without having been killed."""
        for attempt in range(_RESTARTS_MAX):
            try:
                await asyncio.to_thread(self._stack.up, until=Stage.SERVICES)
            except StackError as error:
                # A server that is killed while it recovers may need more than one start.
                sys.stderr.write(f"{error}\n")
                if attempt == _RESTARTS_MAX - 1:
                    raise
            else:
                break
        now: dict[str, int] = self._stack.manifest["pids"]
        for name, pid in self._pids.items():
            if now.get(name) != pid:
                self.died[name] += 1
                self._say_why(name)
        self._pids = dict(now)

    def _say_why(self, name: str) -> None:
        """The last thing that a process which died by itself said of it."""
        lines = self._stack.places.log(name).read_text(encoding="utf-8", errors="replace")
        crashes = [line for line in lines.splitlines() if '"crashed"' in line]
        said = crashes[-1][:_LINE_CHARACTERS_MAX] if crashes else "nothing"
        sys.stderr.write(f"{name} died by itself, saying: {said}\n")
