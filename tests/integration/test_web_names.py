"""Names and numbers in URLs that no record can carry: an answer, or an error that says what is expected."""

from itertools import product

import pytest

from tests.support.cluster import PARTITIONS, PLUGIN, InProcessWorker, assign

STRANGE = ("%FF", "%00", "a%00b", "%ED%A0%80", "9" * 20, "x" * 2000)
HOST = f"/api/v1/plugins/{PLUGIN}/hosts"
PATHS = ("", "/series", "/columns", "/readings", "/recount", "/completeness")
QUERIES = (
    *(f"{HOST}/web-1{path}?metric=" for path in PATHS),
    *(f"{HOST}/web-1/series?{name}=" for name in ("step", "from", "to")),
    f"{HOST}/web-1/columns?points=",
    f"{HOST}/web-1/readings?limit=",
    f"{HOST}/web-1/readings?after=",
    *(f"/api/v1/hosts?{name}=" for name in ("plugin", "after", "limit")),
    *(f"/api/v1/overview?{name}=" for name in ("search", "offset", "limit")),
    f"/api/v1/plugins/{PLUGIN}/headlines?search=",
    f"/api/v1/plugins/{PLUGIN}/cells?search=",
    "/api/v1/plugins/",
    "/api/v1/hosts/",
)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "psycopg"], indirect=True)
async def test_no_name_in_a_url_is_an_unexpected_error(worker: InProcessWorker) -> None:
    assign([worker], set(range(PARTITIONS)))
    found = {}
    for name, path in product(STRANGE, PATHS):
        found[f"{HOST}/{name}{path}"] = await worker.get(f"{HOST}/{name}{path}")
    for path, name in product(QUERIES, STRANGE):
        found[path + name] = await worker.get(path + name)
    wrong = {path: answer for path, answer in found.items() if answer[0] not in (200, 400, 404)}
    assert not wrong
