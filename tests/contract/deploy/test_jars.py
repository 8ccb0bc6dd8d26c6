import re
from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.jars import LOCK, WANTED, Jar, install_jars, locked_jars


def test_the_lock_pins_every_jar_by_version_and_hash_and_holds_no_address() -> None:
    jars = locked_jars()

    assert {each.coordinate for each in jars} >= set(WANTED)
    assert len({each.file_name for each in jars}) == len(jars)
    assert all(re.fullmatch(r"[0-9a-f]{64}", each.sha256) for each in jars)
    assert "://" not in LOCK.read_text(encoding="utf-8")


def test_a_jar_with_another_content_is_refused_by_name(tmp_path: Path) -> None:
    jar = Jar(coordinate="org.example:thing:1.0", sha256="0" * 64)
    (tmp_path / jar.file_name).write_bytes(b"something else")

    with pytest.raises(
        StackError, match=r"thing-1\.0\.jar is not the locked org\.example:thing:1\.0"
    ):
        install_jars(tmp_path, [jar])
