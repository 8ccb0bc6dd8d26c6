"""One Kafka record as this project sees it, on its way out or in."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record to be produced; `value` None is a tombstone, `partition` None means by key.

    `headers` are not to be changed once the record is made: the client takes the list as it is.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []
    partition: int | None = None
