import aiohttp
import pytest

from shared.http.health import Readiness, health_app
from shared.http.server import serve
from shared.telemetry.metrics import Metrics
from tests.support.wait_until import wait_until


async def test_readiness_follows_its_checks_and_tells_the_reasons() -> None:
    readiness = Readiness()
    failing: dict[str, str] = {"kafka": "no broker answers"}
    readiness.register("kafka", lambda: failing.get("kafka"))
    readiness.register("vault", lambda: failing.get("vault"))
    app = health_app(readiness, Metrics())

    async with (
        serve(app, "127.0.0.1", 0, shutdown_seconds=1) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        async with client.get("/readyz") as response:
            assert response.status == 503
            assert await response.json() == {
                "ready": False,
                "reasons": {"kafka": "no broker answers"},
            }
        async with client.get("/healthz") as response:
            assert response.status == 200

        failing.clear()
        async with client.get("/readyz") as response:
            assert response.status == 200
            assert await response.json() == {"ready": True}


def test_a_check_that_breaks_means_not_ready() -> None:
    readiness = Readiness()
    readiness.register("broken", lambda: str(1 / 0))

    assert readiness.reasons() == {"broken": "the check failed: ZeroDivisionError"}


def test_a_check_s_name_is_taken_once() -> None:
    readiness = Readiness()
    readiness.register("kafka", lambda: None)

    with pytest.raises(ValueError, match="kafka"):
        readiness.register("kafka", lambda: None)


async def test_metrics_are_served_and_the_loop_is_watched() -> None:
    app = health_app(Readiness(), Metrics())

    async with (
        serve(app, "127.0.0.1", 0, shutdown_seconds=1) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):

        async def is_sampled() -> bool:
            async with client.get("/metrics") as response:
                assert response.headers["Content-Type"].startswith("text/plain")
                text = await response.text()
            return "openroute_event_loop_lag_seconds 0.0\n" not in text

        await wait_until(is_sampled)
