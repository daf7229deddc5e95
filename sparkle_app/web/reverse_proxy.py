"""What a request says of the client, directly or through a reverse proxy."""

from aiohttp import web


def client_address(request: web.Request, trust_proxy: bool) -> str:
    """The address of the client, without a port.

    Arguments:
        trust_proxy: whether all requests come through a proxy, and the client is the one that called it.
    """
    # A proxy appends the address from which it was called; what is before it, a client may have sent.
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2].strip()
    return _without_port(forwarded) if trust_proxy and forwarded else request.remote or ""


def uses_https(request: web.Request, trust_proxy: bool) -> bool:
    """Whether the client uses HTTPS.

    Arguments:
        trust_proxy: whether all requests come through a proxy, which may end TLS.
    """
    forwarded = request.headers.get("X-Forwarded-Proto", "").strip().lower()
    return request.secure or (trust_proxy and forwarded == "https")


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    # Otherwise, an address with several colons is IPv6, without a port.
    return address.partition(":")[0] if address.count(":") == 1 else address
