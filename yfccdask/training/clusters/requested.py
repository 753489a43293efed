"""What was asked for: a scheduler that runs already, or a cluster of one's own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast

from dask.utils import parse_bytes
from distributed import Security

from yfccdask.errors import ClusterError

LOOPBACK = "127.0.0.1"
DEVICES = ("cpu", "gpu")
PROTOCOLS = ("tcp", "ucxx")
LEAST_MEMORY = 320 * 10**6  # resident once yfccdask is imported; the plan measures it anew
RMM_POOL = 0.9  # what a CUDA context and its libraries take lies outside


@dataclass(frozen=True)
class ClusterRequest:
    """What was asked for: an address or a scheduler file, or workers of one's own.

    Attributes
    ----------
    scheduler, scheduler_file : str, optional
        A cluster that is there already; otherwise an embedded one is started.
    await_workers : int, optional
        Wait until that cluster has so many workers, and for its file, for `AWAITED_SECONDS`.
    workers, memory : int and str, optional
        Single-threaded workers of an embedded cluster, and the memory of each as Dask reads it.
    processes : bool
        Whether these workers are processes of their own, or threads.
    host : str, optional
        Address that an embedded cluster listens on; by default loopback.
    insecure : bool
        Listen on ``host`` without TLS too, with the dashboard: whoever reaches it runs code here.
    device : {"cpu", "gpu"}, optional
        What to compute on. ``gpu`` gives an embedded cluster a worker per GPU; a run is trained on
        the device in place of its configuration's ``arithmetic.device``.
    pool : float or str
        Memory of each GPU that its worker takes at the start, where work is for GPUs: a share, or
        bytes as Dask reads them. None leaves allocation to CUDA.
    protocol : {"tcp", "ucxx"}, optional
        How an embedded cluster talks: by default TCP, with TLS where there are files for it. UCX
        takes GPUs' data over NVLink and InfiniBand, and doesn't encrypt.
    tls_ca_file, tls_cert, tls_key : str, optional
        PEM files, of the authority and one's own; the key may be part of ``tls_cert``. By default
        those that Dask's configuration names.
    security : distributed.Security, optional
        In place of these files.

    Raises
    ------
    ClusterError
        For what would open a door to anybody, or can't be; nothing is started.
    """

    scheduler: str | None = None
    scheduler_file: str | None = None
    await_workers: int | None = None
    workers: int | None = None
    memory: str | None = None
    processes: bool = True
    security: Any = None
    host: str | None = None
    insecure: bool = False
    device: str | None = None
    pool: float | str | None = RMM_POOL
    protocol: str | None = None
    tls_ca_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        if not self.embedded and (self.host or self.insecure or self.protocol):
            raise ClusterError(
                "expected no host, `insecure` or protocol with a scheduler that runs already, "
                "found one of them given: they are for an embedded cluster; where and how that "
                "one listens, it was told"
            )
        if self.embedded and self.await_workers:
            raise ClusterError(
                "expected the scheduler whose workers are to be waited for, found none: name it"
            )
        self._check_choices()
        self._check_memory()
        self._check_files()
        if not (self.loopback or self.encrypted or self.insecure):
            raise ClusterError(
                f"expected TLS files with the host {self.host}, found none: whoever reaches a Dask "
                "scheduler can run any code as its user. Give --tls-ca-file, --tls-cert and "
                "--tls-key, or leave --host away, or, where everybody on that network may do so, "
                "say --insecure"
            )

    @property
    def embedded(self) -> bool:
        """Whether the cluster is to be started, and to end with the work."""
        return not (self.scheduler or self.scheduler_file)

    @property
    def loopback(self) -> bool:
        """Whether only this machine's own processes can reach the embedded cluster."""
        return is_loopback(self.host or LOOPBACK)

    @property
    def transport(self) -> Security | None:
        """TLS as it was asked for: these files, or the ``security``; None leaves it to Dask."""
        if self.tls_ca_file is None:
            return cast("Security | None", self.security)
        files = {"cert": self.tls_cert, "key": self.tls_key}
        roles = {
            f"tls_{role}_{kind}": path
            for role in ("client", "scheduler", "worker")
            for kind, path in files.items()
        }
        return Security(require_encryption=True, tls_ca_file=self.tls_ca_file, **roles)

    @property
    def encrypted(self) -> bool:
        """Whether a scheduler that is started here talks only to those with a certificate."""
        transport = self.transport or Security()
        return bool(transport.require_encryption and transport.tls_scheduler_cert)

    def _check_choices(self) -> None:
        for name, known in (("device", DEVICES), ("protocol", PROTOCOLS)):
            if (found := getattr(self, name)) not in (None, *known):
                raise ClusterError(f"expected a {name} of {' or '.join(known)}, found {found!r}")
        if self.protocol == "ucxx" and (self.tls_ca_file or self.encrypted):
            raise ClusterError(
                "expected no TLS with the protocol ucxx, found both: UCX does not encrypt. Leave "
                "--protocol away, or, on a network where everybody may run code as you, the TLS "
                "files (and those in Dask's configuration)"
            )

    def _check_memory(self) -> None:
        """Dask ends a process over its limit: below what it starts with it would never be there."""
        size = 0.0
        with suppress(ValueError):  # "auto", and what Dask itself refuses
            size = parse_bytes(self.memory or 0)
        if self.processes and 1 < size < LEAST_MEMORY:
            raise ClusterError(
                f"expected at least {LEAST_MEMORY // 10**6} MB of memory for a worker, found "
                f"{self.memory}: it takes that much before its first image"
            )

    def _check_files(self) -> None:
        files = (self.tls_ca_file, self.tls_cert, self.tls_key)
        if not any(files):
            return
        if self.security is not None or not (self.tls_ca_file and self.tls_cert):
            raise ClusterError(
                "expected an authority's file together with a certificate and its key, and no "
                f"`security` beside them, found {files}: give --tls-ca-file, --tls-cert, --tls-key"
            )
        try:
            (self.transport or Security()).get_connection_args("client")
        except OSError as error:  # a file that is absent, or no certificate; ssl says not which
            raise ClusterError(
                f"expected PEM files of an authority, a certificate and its key, found {files} "
                f"({error}): check each of them, for example with `openssl x509 -text -in FILE`"
            ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine's own processes reach what listens on ``host``.

    A name other than localhost may be anybody's.

    Examples
    --------
    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "::", "me")]
    [True, True, True, False, False, False]
    """
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
