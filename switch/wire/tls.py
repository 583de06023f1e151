"""TLS of a link, one-sided or mutual: contexts made once from files, checked when they are made.

Whoever listens shows `cert` and `key`, and with `ca` asks the other side for a certificate under it. Whoever connects
believes what stands under `ca` (or the system's own authorities) and shows `cert` and `key` where it has them.
"""

import ssl
from pathlib import Path

from switch.wire.errors import WireError


class TlsError(WireError):
    """A certificate or key that cannot be used; `where` is the file."""


def server_context(cert: Path, key: Path, ca: Path | None = None) -> ssl.SSLContext:
    """For the side that listens; with `ca` clients without a certificate under it are refused. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _show(context, cert, key)
    if ca is not None:
        _believe(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """For the side that connects: the peer's certificate and name are always checked. Raises TlsError."""
    context = ssl.create_default_context() if ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        _believe(context, ca)
    if cert is not None:
        _show(context, cert, key)
    return context


def _show(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise TlsError(str(cert), None, f"no certificate with its key ({error.reason or 'not PEM'})") from None
    except OSError as error:
        raise TlsError(str(error.filename or cert), None, error.strerror or "cannot be read") from None


def _believe(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise TlsError(str(ca), None, f"no certificate authority ({error.reason or 'not PEM'})") from None
    except OSError as error:
        raise TlsError(str(ca), None, error.strerror or "cannot be read") from None
