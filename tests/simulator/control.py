"""The control API, for tests and for people: scripts in, calls out.

PUT    /_control/credentials/{credential}   {"script": [step, ...], "repeat": "last"}
DELETE /_control/credentials/{credential}   and DELETE /_control/credentials for all
GET    /_control/calls?since=INDEX&credential=...
DELETE /_control/calls
"""

from dataclasses import dataclass

import msgspec
from aiohttp import web

from tests.simulator.call_log import CallLog
from tests.simulator.scripts import Script, ScriptBook

_SCRIPT_DECODER = msgspec.json.Decoder(Script)


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), status=status, content_type="application/json"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Handlers of the control API."""

    scripts: ScriptBook
    calls: CallLog

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.put("/_control/credentials/{credential:.+}", self._put_script),
            web.delete("/_control/credentials/{credential:.+}", self._delete_script),
            web.delete("/_control/credentials", self._delete_scripts),
            web.get("/_control/calls", self._get_calls),
            web.delete("/_control/calls", self._delete_calls),
        ]

    async def _put_script(self, request: web.Request) -> web.Response:
        try:
            script = _SCRIPT_DECODER.decode(await request.read())
            self.scripts.put(request.match_info["credential"], script)
        except (msgspec.DecodeError, ValueError) as problem:
            return _json({"error": str(problem)}, 400)
        return _json({"steps": len(script.script), "repeat": script.repeat})

    async def _delete_script(self, request: web.Request) -> web.Response:
        existed = self.scripts.remove(request.match_info["credential"])
        return _json({"deleted": existed})

    async def _delete_scripts(self, _request: web.Request) -> web.Response:
        self.scripts.clear()
        return _json({"deleted": True})

    async def _get_calls(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            return _json({"error": "since must be a call's index"}, 400)
        credential = request.query.get("credential")
        calls = self.calls.since(int(since))
        if credential is not None:
            calls = [call for call in calls if call.credential == credential]
        return _json({"calls": calls, "next": self.calls.next_index})

    async def _delete_calls(self, _request: web.Request) -> web.Response:
        self.calls.clear()
        return _json({"deleted": True})
