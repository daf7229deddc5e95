"""Liveness and readiness."""

from sparkle_app.web.api.route import Route
from sparkle_app.web.health import Health, HealthChecker, Live
from sparkle_app.web.parts import WebParts


def live_route() -> Route:
    """Whether the process is running."""

    async def live() -> Live:
        return Live(True)

    return Route("/health/live", "Liveness: the process is running", Live, live)


def ready_route(parts: WebParts) -> Route:
    """Whether the worker does its work."""
    return Route(
        "/health/ready",
        "Readiness: partitions assigned, tables recovered, broker and database available. Without a valid token"
        " (or, if none is configured, without a Host header that names this machine) `checks` is absent",
        Health,
        HealthChecker(parts).check,
        status=lambda health: 200 if health.ready else 503,
        statuses=(200, 503),
        public_part=lambda health: Health(health.ready),
    )
