"""One Kafka record as this project sees it, on its way out or in."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record to be produced; `value` None is a tombstone, `partition` None means by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
