import asyncio
import contextlib
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.errors import StackError
from deploy.local.ports import is_free
from deploy.local.private_files import read_json
from deploy.local.stack import SERVERS, Stack, Stage

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

_TOPIC = TopicPartition("survivors", 0)


async def _write(stack: Stack, text: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.manifest["kafka"])
    await admin.start()
    await admin.create_topics([NewTopic(_TOPIC.topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=stack.manifest["kafka"], acks="all", enable_idempotence=True
    ) as producer:
        await producer.send_and_wait(_TOPIC.topic, text.encode(), partition=0)
    connection = await asyncpg.connect(stack.manifest["postgres"]["billing"])
    await connection.execute("CREATE TABLE IF NOT EXISTS survivors (text TEXT NOT NULL)")
    await connection.execute("INSERT INTO survivors VALUES ($1)", text)
    await connection.close()


async def _read(stack: Stack) -> tuple[list[str], list[str]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.manifest["kafka"], auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([_TOPIC])
    end = (await consumer.end_offsets([_TOPIC]))[_TOPIC]
    records: list[str] = []
    async with asyncio.timeout(10):
        while len(records) < end:
            records.append((await consumer.getone()).value.decode())
    await consumer.stop()
    connection = await asyncpg.connect(stack.manifest["postgres"]["billing"])
    rows = [row["text"] for row in await connection.fetch("SELECT text FROM survivors")]
    await connection.close()
    return records, rows


def test_a_second_up_changes_nothing_and_is_quick(own_stack: Stack) -> None:
    before = own_stack.manifest
    started = time.monotonic()

    own_stack.up(until=Stage.INFRASTRUCTURE)

    assert own_stack.manifest == before
    assert time.monotonic() - started < 5
    assert {line.name for line in own_stack.status() if line.ready} == set(SERVERS)


def test_what_describes_the_stack_is_for_its_owner_only(own_stack: Stack) -> None:
    files = [own_stack.places.manifest, *own_stack.places.secrets.iterdir()]

    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    assert set(json.loads(own_stack.places.manifest.read_text())["postgres"]) == {
        "ingress",
        "key_vault",
        "billing",
    }


async def test_killed_servers_come_back_at_the_next_up_with_all_that_was_acknowledged(
    own_stack: Stack,
) -> None:
    await _write(own_stack, "before the crash")
    before = own_stack.manifest["pids"]

    for name in SERVERS:
        await asyncio.to_thread(own_stack.kill, name)
    assert not any(line.ready for line in await asyncio.to_thread(own_stack.status))
    await asyncio.to_thread(own_stack.up, until=Stage.INFRASTRUCTURE)

    after = own_stack.manifest["pids"]
    assert all(after[name] != before[name] for name in SERVERS)
    assert await _read(own_stack) == (["before the crash"], ["before the crash"])


async def test_data_and_addresses_survive_down_and_up(own_stack: Stack) -> None:
    before = own_stack.manifest
    records, rows = await _read(own_stack)

    await asyncio.to_thread(own_stack.down)
    assert not any(psutil.pid_exists(pid) for pid in before["pids"].values())
    assert not own_stack.places.manifest.exists()
    await asyncio.to_thread(own_stack.up, until=Stage.INFRASTRUCTURE)

    assert own_stack.manifest | {"pids": 0} == before | {"pids": 0}
    assert await _read(own_stack) == (records, rows)


def test_a_failing_process_leaves_nothing_of_this_run_and_names_its_log(own_stack: Stack) -> None:
    own_stack.down()
    seal_key = own_stack.places.secrets / "vault-seal.key"
    right = seal_key.read_bytes()
    seal_key.write_bytes(b"too short")

    with pytest.raises(StackError, match="vault ended before it was ready") as failure:
        own_stack.up(until=Stage.INFRASTRUCTURE)

    seal_key.write_bytes(right)
    assert failure.value.log == own_stack.places.log("vault")
    assert str(failure.value).endswith(str(failure.value.log))
    assert failure.value.log.stat().st_size > 0
    assert own_stack.status() == []
    assert not own_stack.places.manifest.exists()
    ports = read_json(own_stack.places.ports)
    assert ports is not None
    assert all(is_free(ports[name]) for name in SERVERS)


def test_a_configured_port_that_is_taken_is_named(tmp_path: Path, own_stack: Stack) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        stack = Stack(replace(own_stack.options, root=tmp_path, ports={"kafka": port}))
        with pytest.raises(StackError, match=f"the port {port} that was configured for kafka"):
            stack.up(until=Stage.INFRASTRUCTURE)
        stack.clean()


def test_clean_removes_everything_but_downloads(tmp_path: Path, own_stack: Stack) -> None:
    options = replace(
        own_stack.options, root=tmp_path / "stack", cache=tmp_path / "stack" / "cache"
    )
    stack = Stack(options)
    stack.places.make()
    (stack.places.cache / "kafka").mkdir(parents=True)
    (stack.places.data("kafka")).mkdir()

    stack.clean()

    assert [each.name for each in stack.places.root.iterdir()] == ["cache"]
