"""Embedded media-security agent for IMS phones and home gateways (3GPP TS 33.328)."""


def version() -> str:
    """The installed distribution's version; "0" in a tree that was never installed."""
    from importlib import metadata

    try:
        return metadata.version("ueagent")
    except metadata.PackageNotFoundError:
        return "0"
