"""Which certificate a server must show, checked before it is told anything.

A pin is compared inside the handshake: a request, with its password, is written only after that,
so a stranger behind a BMC's address never sees one. Comparing afterwards would be too late. The
pinned certificate may be self-signed, expired, and of another name; nothing else about it counts.
Without a pin it must be signed by the given authority, or one that the system trusts, and bear the
name or address that was asked for.

asyncio shakes hands with an `SSLObject`, a blocking socket with an `SSLSocket`; both are checked.
"""

import hashlib
import hmac
import ssl
import warnings
from dataclasses import dataclass
from typing import Final, cast

from controller.errors import Refused

VERSIONS: Final = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1,
                   "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
OLD: Final = frozenset({"1.0", "1.1"})
OLD_CIPHERS: Final = "DEFAULT@SECLEVEL=0"
"""Short keys and SHA-1, without which nothing below TLS 1.2 can be spoken any more."""
OLD_RENEGOTIATION: Final = 0x4
"""OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT: servers from before RFC 5746."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What a server is recognised by."""

    fingerprint: str | None = None
    """SHA-256 of its certificate, with or without colons."""
    ca_file: str | None = None
    minimum_tls: str = "1.2"
    certificate_file: str | None = None
    """What we show in return, where the server wants to know who asks."""
    key_file: str | None = None


def tls_context(trust: Trust) -> ssl.SSLContext:
    """Return a context for clients that believes just what `trust` says.

    Errors: Refused when the file of the authority, or our certificate, cannot be used.
    """
    context = _pinned(trust.fingerprint) if trust.fingerprint else _signed(trust.ca_file)
    with warnings.catch_warnings():     # to speak an old version is declared, host by host
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[trust.minimum_tls]
    if trust.minimum_tls in OLD:
        context.set_ciphers(OLD_CIPHERS)
        context.options |= OLD_RENEGOTIATION
    if trust.certificate_file is not None:
        try:
            context.load_cert_chain(trust.certificate_file, trust.key_file)
        except (OSError, ssl.SSLError) as error:
            raise Refused(f"the certificate {trust.certificate_file} and its key"
                          f" {trust.key_file} cannot be used: {error}") from error
    return context


def _signed(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"the file of certificates {ca_file} cannot be used: {error}") from error


def _pinned(fingerprint: str) -> ssl.SSLContext:
    wanted = bytes.fromhex(fingerprint.replace(":", ""))

    class PinnedObject(ssl.SSLObject):
        """asyncio's end of a connection."""

        def do_handshake(self) -> None:
            """Shake hands, and compare."""
            super().do_handshake()
            compare(self.getpeercert(binary_form=True), wanted)

    class PinnedSocket(ssl.SSLSocket):
        """A blocking end of a connection."""

        def do_handshake(self, block: bool = False) -> None:
            """Shake hands, and compare."""
            super().do_handshake(block)
            compare(self.getpeercert(binary_form=True), wanted)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = cast("type[ssl.SSLObject]", PinnedObject)
    context.sslsocket_class = cast("type[ssl.SSLSocket]", PinnedSocket)
    return context


def compare(certificate: bytes | None, wanted: bytes) -> None:
    """Raise SSLCertVerificationError unless a certificate has the wanted SHA-256."""
    found = hashlib.sha256(certificate or b"").digest()
    if not hmac.compare_digest(found, wanted):
        raise ssl.SSLCertVerificationError(
            f"its certificate has the fingerprint {found.hex()}, and {wanted.hex()} is pinned")
