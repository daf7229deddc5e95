"""The policies of documents."""

from sparkle_app.web.security_headers import PAGE_HEADERS, PLAIN_PAGE_HEADERS


def directives(policy: str) -> dict[str, str]:
    return dict(each.split(" ", 1) for each in policy.split("; "))


def test_a_document_without_scripts_may_load_none() -> None:
    page = directives(PAGE_HEADERS["Content-Security-Policy"])
    plain = directives(PLAIN_PAGE_HEADERS["Content-Security-Policy"])
    assert page["default-src"] == plain["default-src"] == "'none'"
    assert {name: (value, plain[name]) for name, value in page.items() if plain[name] != value} == {
        "script-src": ("'self'", "'none'"),
        "connect-src": ("'self'", "'none'"),
    }
    assert set(page) == set(plain)
