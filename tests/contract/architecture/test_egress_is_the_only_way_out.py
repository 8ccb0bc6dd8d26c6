"""Client sessions are made in one file, and what could go round it is used nowhere in a service."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_SERVICES = Path(__file__).parents[3] / "services"
_EGRESS = "dispatcher/outbound/egress.py"
_BOTOCORE_SESSION = "dispatcher/outbound/botocore_session.py"
_BEDROCK_CLIENT = "dispatcher/outbound/bedrock_client.py"

_ONLY_IN = {
    "ClientSession": {_EGRESS},
    "TCPConnector": {_EGRESS},
    "BaseConnector": set[str](),
    "UnixConnector": set[str](),
    "NamedPipeConnector": set[str](),
    "AIOHTTPSession": set[str](),
    "HttpxSession": set[str](),
    "AioSession": {_BOTOCORE_SESSION},
    "get_session": set[str](),
    "create_client": set[str](),
    "AioConfig": {_BEDROCK_CLIENT},
    "open_connection": set[str](),
    "create_connection": set[str](),
}
"""Names that make a connection, or what makes one, and the files that may say them.

A `ClientSession` may be named as a type, but nowhere else but in egress there is need to.
"""

_NEVER_IMPORTED = {
    "boto3",
    "ftplib",
    "http.client",
    "httpx",
    "requests",
    "smtplib",
    "urllib.request",
    "urllib3",
    "websockets",
}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.ImportFrom(names=names):
                yield from (alias.name for alias in names)
            case _:
                pass


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def _wrong(source: str, file: str) -> set[str]:
    tree = ast.parse(source)
    names, modules = set(_names(tree)), set(_modules(tree))
    wrong = {name for name, files in _ONLY_IN.items() if name in names and file not in files}
    wrong |= {
        module
        for module in modules
        if any(module == never or module.startswith(never + ".") for never in _NEVER_IMPORTED)
    }
    requests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "request"
        and isinstance(node.value, ast.Name)
        and node.value.id == "aiohttp"
    ]
    return wrong | ({"aiohttp.request"} if requests else set())


def test_client_sessions_are_made_in_one_file_alone() -> None:
    found = {
        file: wrong
        for path in sorted(_SERVICES.rglob("*.py"))
        if (wrong := _wrong(path.read_text(), file := str(path.relative_to(_SERVICES))))
    }
    assert found == {}
    assert "aiohttp.ClientSession(" in (_SERVICES / _EGRESS).read_text()


def test_every_client_of_botocore_gets_a_session_of_ours() -> None:
    tree = ast.parse((_SERVICES / _BEDROCK_CLIENT).read_text())
    configs = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "AioConfig"
    ]
    assert configs
    for config in configs:
        assert "http_session_cls" in {keyword.arg for keyword in config.keywords}


@pytest.mark.parametrize(
    "source",
    [
        "import aiohttp\nasync def f(): return aiohttp.ClientSession()",
        "from aiohttp import ClientSession as S",
        "import aiohttp\nmake = aiohttp.ClientSession",
        "import aiohttp\nasync def f(): await aiohttp.request('GET', 'x')",
        "import aiohttp\nc = aiohttp.TCPConnector()",
        "import httpx",
        "import urllib.request",
        "from urllib import request",
        "from requests import post",
        "import asyncio\nasync def f(): await asyncio.open_connection('h', 1)",
        "from aiobotocore.session import get_session",
        "import aioboto3\ns = aioboto3.Session().create_client",
    ],
)
def test_the_search_would_find_it(source: str) -> None:
    assert _wrong(source, "ingress/outbound/somewhere.py")
