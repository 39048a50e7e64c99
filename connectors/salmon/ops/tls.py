"""
TLS of the REST port, on both ends: how a process shows its certificate, and how it checks that of another one.

The files are looked at for each new connection, so a renewed certificate (cert-manager, certbot) is used without a restart. If what was
written cannot be used, the former certificate stays, and the trouble is reported.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import structlog

from salmon.errors import ConfigError

log = structlog.get_logger(__name__)

_Prints = tuple[tuple[int, int, int] | None, ...]
_UNASKED_PASSWORD: Final = ""


@dataclass(frozen=True, slots=True)
class Tls:
    """
    The files, all of them PEM.

    Args:
        certificate_file: What the server shows: its certificate, and those between it and the CA.
        key_file: Its private key, without a password.
        client_ca_file: Whoever makes Kafka Connect's calls needs a certificate of these CAs. None: nobody does.
        ca_file: The CAs that the processes trust when they ask each other. None: the system's.
    """

    certificate_file: str
    key_file: str
    client_ca_file: str | None = None
    ca_file: str | None = None

    def of_client(self) -> dict[str, Any]:
        """How `requests` asks another process: what it trusts, and the certificate that it shows."""
        pair = (self.certificate_file, self.key_file) if self.client_ca_file else None
        return {"verify": self.ca_file or True, "cert": pair}


class ServerContext(ssl.SSLContext):
    """
    A context that hands each connection on to the newest one that could be made of the files.

    Args:
        trouble: Is told why the files cannot be used any more; "" when they can again.
        ends: Is told when the certificate that is shown ends, in seconds since 1970.

    Raises:
        ConfigError: the files cannot be used.
    """

    def __new__(
        cls, files: Tls, trouble: Callable[[str], object], ends: Callable[[float], object]
    ) -> ServerContext:
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, files: Tls, trouble: Callable[[str], object], ends: Callable[[float], object]) -> None:
        super().__init__()
        self._files, self._trouble, self._ends = files, trouble, ends
        self._lock = Lock()
        self._seen = _prints(files)
        self._now = self._made()

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """A new connection (asyncio makes each of them so)."""
        return self._newest().wrap_bio(*args, **options)

    def _newest(self) -> ssl.SSLContext:
        with self._lock:
            if (prints := _prints(self._files)) != self._seen:
                self._seen = prints
                try:
                    self._now = self._made()
                except ConfigError as error:
                    log.warning("certificate_not_renewed", reason=str(error))
                    self._trouble(f"{error} Until then the former certificate is shown.")
                else:
                    log.info("certificate_renewed", file=self._files.certificate_file)
                    self._trouble("")
            return self._now

    def _made(self) -> ssl.SSLContext:
        made = _made_of(self._files)
        self._ends(_end_of(self._files.certificate_file))
        return made


def _made_of(files: Tls) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    keys = {
        "rest.tls.certificate_file": files.certificate_file,
        "rest.tls.key_file": files.key_file,
        "rest.tls.client_ca_file": files.client_ca_file,
    }
    _read_all(keys)
    try:
        made.load_cert_chain(files.certificate_file, files.key_file, password=_UNASKED_PASSWORD)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"rest.tls.certificate_file, key_file: {files.certificate_file} and {files.key_file} cannot be used together "
            f"({_reason(error)}). They must be PEM: a certificate with its chain, and its own private key without a password."
        ) from None
    if files.client_ca_file is not None:
        # Asked for and not required: probes have none. What needs one is decided by the application.
        made.verify_mode = ssl.CERT_OPTIONAL
        _trust(made, "rest.tls.client_ca_file", files.client_ca_file)
    if files.ca_file is not None:
        _read_all({"rest.tls.ca_file": files.ca_file})
        _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "rest.tls.ca_file", files.ca_file)
    return made


def _trust(context: ssl.SSLContext, key: str, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{key}: {file} cannot be used ({_reason(error)}). It must have one or more certificates of CAs, as PEM."
        ) from None


def _read_all(files: Mapping[str, str | None]) -> None:
    for key, file in files.items():
        if file is not None:
            try:
                with open(file, "rb"):
                    pass
            except OSError as error:
                raise ConfigError(
                    f"{key}: {file} cannot be read ({error.strerror}). Name a file that this process may read."
                ) from None


def _end_of(file: str) -> float:
    from cryptography import x509  # only a process with rest.tls needs it

    with open(file, "rb") as opened:
        return x509.load_pem_x509_certificates(opened.read())[0].not_valid_after_utc.timestamp()


def _prints(files: Tls) -> _Prints:
    return tuple(
        _print(each) for each in (files.certificate_file, files.key_file, files.client_ca_file, files.ca_file)
    )


def _print(file: str | None) -> tuple[int, int, int] | None:
    """What is other when a file is another: also one that a link points to, as Kubernetes renews secrets."""
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or type(error).__name__
