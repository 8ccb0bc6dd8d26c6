import pytest

from shared.telemetry.metrics import Metrics


def test_metrics_are_exposed_under_the_projects_name() -> None:
    metrics = Metrics()
    metrics.counter("attempts", "Attempts", ["tier"]).labels("shared").inc(2)
    metrics.gauge("in_flight", "Running").set(3)
    metrics.histogram("wait_seconds", "Waiting", [], [0.1, 1.0]).observe(0.5)

    text = metrics.render().decode()

    assert 'openroute_attempts_total{tier="shared"} 2.0' in text
    assert "openroute_in_flight 3.0" in text
    assert 'openroute_wait_seconds_bucket{le="1.0"} 1.0' in text
    assert "openroute_event_loop_lag_seconds" in text


def test_the_process_itself_is_measured() -> None:
    text = Metrics().render().decode()

    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert f"\n{name} " in text


def test_two_registries_do_not_know_each_other_and_one_knows_its_names() -> None:
    first = Metrics()
    first.counter("attempts", "Attempts")
    Metrics().counter("attempts", "Attempts")

    with pytest.raises(ValueError, match="Duplicated"):
        first.counter("attempts", "Attempts")
