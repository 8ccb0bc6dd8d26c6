"""The image's health check: asks the process beside it whether it is alive; exit code 0 is yes."""

import http.client
import os
import sys
from collections.abc import Mapping

_SECONDS = 2.0


def main(environment: Mapping[str, str]) -> int:
    """Ask `/healthz` on this container's own HEALTH_PORT."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(environment["HEALTH_PORT"]), timeout=_SECONDS
    )
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(os.environ))  # noqa: TID251  # read once, here
