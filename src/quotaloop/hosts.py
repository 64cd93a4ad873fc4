"""Hosts as they stand in addresses with a port."""


def in_address(host: str) -> str:
    """A host before a colon and a port: an address of IPv6 has colons of its own, and stands in brackets (RFC 3986).

    >>> in_address("localhost"), in_address("::1")
    ('localhost', '[::1]')
    """
    return f"[{host}]" if ":" in host else host
