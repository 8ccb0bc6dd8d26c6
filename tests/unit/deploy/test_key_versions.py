"""Which versions of a key are still needed."""

from datetime import UTC, datetime, timedelta

from deploy.vault.keys import LIVES, Versions, oldest_needed
from services.ingress.outbound.vault_wire_keys import USED_FOR_SECONDS_MAX
from shared.events.topics import CREDENTIALS_COMMANDS, INFERENCE_REQUESTS, INGRESS_REPLIES

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def versions(*ages: timedelta) -> Versions:
    """Versions made so long before noon."""
    made_at = {number: NOON - age for number, age in enumerate(ages, start=1)}
    return Versions(newest=len(ages), oldest_open=1, made_at=made_at)


def test_the_version_in_use_then_and_all_after_it_are_needed() -> None:
    daily = versions(72 * HOUR, 48 * HOUR, 24 * HOUR, 2 * HOUR, HOUR / 2)
    assert oldest_needed(daily, NOON) == 5
    assert oldest_needed(daily, NOON - HOUR) == 4
    assert oldest_needed(daily, NOON - 2 * HOUR) == 4
    assert oldest_needed(daily, NOON - 3 * HOUR) == 3
    assert oldest_needed(daily, NOON - 47 * HOUR) == 2


def test_a_young_keys_first_version_is_needed_and_so_is_the_oldest_that_there_is() -> None:
    assert oldest_needed(versions(HOUR), NOON - 3 * HOUR) == 1
    trimmed = Versions(newest=8, oldest_open=7, made_at={7: NOON - HOUR, 8: NOON})
    assert oldest_needed(trimmed, NOON - 3 * HOUR) == 7


def test_nothing_is_retired_while_something_sealed_with_it_may_come() -> None:
    def stays(topic_ms: int | None) -> timedelta:
        assert topic_ms is not None
        return 2 * timedelta(milliseconds=topic_ms)  # retention goes by whole segments

    used = timedelta(seconds=USED_FOR_SECONDS_MAX)
    for topic in (INFERENCE_REQUESTS, INGRESS_REPLIES):
        assert LIVES["wire"] > used + stays(topic.retention_ms)
    assert LIVES["intake"] > stays(CREDENTIALS_COMMANDS.retention_ms)
