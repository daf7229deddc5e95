"""The public routes: one list for both the router and the OpenAPI document."""

from sparkle_app.web.api.columns import ColumnsQueries
from sparkle_app.web.api.completeness import completeness_route
from sparkle_app.web.api.dead_letters import DeadLetters
from sparkle_app.web.api.headlines import Headlines
from sparkle_app.web.api.health import live_route, ready_route
from sparkle_app.web.api.hosts import HostQueries
from sparkle_app.web.api.lines import Lines
from sparkle_app.web.api.overview import Overviews
from sparkle_app.web.api.pipeline import Pipeline
from sparkle_app.web.api.plugins import plugins_route
from sparkle_app.web.api.readings import ReadingsQueries
from sparkle_app.web.api.recount import Recounts
from sparkle_app.web.api.replay import Replays
from sparkle_app.web.api.route import Route
from sparkle_app.web.api.series import SeriesQueries
from sparkle_app.web.api.session import session_route
from sparkle_app.web.api.window_queries import WindowQueries
from sparkle_app.web.parts import WebParts
from sparkle_app.web.snapshots.views import Views


def routes(
    parts: WebParts, windows: WindowQueries, views: Views, pipeline: Pipeline, replays: Replays
) -> list[Route]:
    """All public routes, in the order in which the router tries them and the document describes them."""
    overviews, dead_letters = Overviews(parts, views), DeadLetters(parts)
    return [
        plugins_route(parts),
        HostQueries(parts).route(),
        overviews.one_route(),
        overviews.page_route(),
        windows.fleet_route(),
        Lines(parts, views).route(),
        overviews.cells_route(),
        Headlines(parts, overviews).route(),
        windows.host_route(),
        SeriesQueries(parts).route(),
        ColumnsQueries(parts).route(),
        ReadingsQueries(parts).route(),
        Recounts(parts).route(),
        completeness_route(parts),
        replays.state_route(),
        replays.start_route(),
        dead_letters.page_route(),
        dead_letters.one_route(),
        pipeline.route(),
        session_route(),
        live_route(),
        ready_route(parts),
    ]
