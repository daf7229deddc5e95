"""Headers of responses that a browser shows: nothing from elsewhere, no script in the markup, no frame around it."""

from collections.abc import Mapping

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    # No string becomes a script or markup.
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


def _joined(policy: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in policy.items())


CONTENT_SECURITY_POLICY = _joined(_POLICY)
"""Of a document with scripts."""
ASSET_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every response."""
PAGE_HEADERS: Mapping[str, str] = {
    **ASSET_HEADERS,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    # With no-referrer, browsers send `Origin: null` with forms, which could then be those of another site.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of an HTML document."""
PLAIN_PAGE_HEADERS: Mapping[str, str] = {
    **PAGE_HEADERS,
    "Content-Security-Policy": _joined(_POLICY | dict.fromkeys(("script-src", "connect-src"), "'none'")),
}
"""Of an HTML document without scripts."""
