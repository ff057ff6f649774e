"""How the broker is reached, and clients that clean up after themselves."""

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

FETCH_BYTES = 4 << 20  # of one partition in one fetch: the largest record that is taken fits
SESSION_MS = 10_000  # a rebalance waits as long for a member, and must end before `request_ms`
LONGEST_POLL_MS = 300_000  # storage may be away so long before the group moves on; what is delivered twice counts once


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Brokers ("host:port"), topic and group; `dead_letter_topic` and the SASL user are empty for none.

    A broker that has not answered a request after `request_ms` hangs.
    """

    brokers: tuple[str, ...]
    topic: str
    group: str
    dead_letter_topic: str = ""
    security: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: Path | None = None
    request_ms: int = 15_000

    def connection(self) -> dict[str, Any]:
        """What every client is told. Raises OSError when the file with the authorities cannot be read."""
        told: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "security_protocol": self.security,
            "request_timeout_ms": self.request_ms,
            "client_id": "llm-optimizer",
        }
        if self.security.endswith("SSL"):
            told["ssl_context"] = ssl.create_default_context(cafile=self.ca_path)
        if self.security.startswith("SASL"):
            told |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return told


class _Started(AbstractAsyncContextManager[Any]):
    """A client, started on entering and stopped on leaving; one that could not start is stopped too."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._client = make()

    async def __aenter__(self) -> Any:
        try:
            await self._client.start()
        except BaseException:
            await self._stop()
            raise
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        """Leave the group and close. A broker that hangs is not waited for beyond the caller's patience: when this is
        cancelled the connections are closed all the same, or they would stay open until they are collected."""
        try:
            await self._client.stop()
        finally:
            inner = getattr(self._client, "client", None) or self._client._client  # noqa: SLF001 - and a consumer hides it
            for connection in list(inner._conns.values()):  # noqa: SLF001 - the library has no abrupt close
                connection.close()


def opened_consumer(options: Options) -> AbstractAsyncContextManager[Any]:
    """A member of the group that starts where the group left off, at the beginning when it has never been here.

    For the asyncio side: `bridge.opened(lambda: opened_consumer(options))`.
    """
    from aiokafka import AIOKafkaConsumer  # an eighth of a second that only those pay who use it

    return _Started(
        lambda: AIOKafkaConsumer(
            options.topic,
            group_id=options.group,
            enable_auto_commit=False,  # an offset is committed when its record is durable, and not before
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=SESSION_MS,
            max_poll_interval_ms=LONGEST_POLL_MS,
            **options.connection(),
        )
    )


def opened_producer(options: Options) -> AbstractAsyncContextManager[Any]:
    """A producer whose answered records are on all replicas, and there once. For the asyncio side."""
    from aiokafka import AIOKafkaProducer

    return _Started(
        lambda: AIOKafkaProducer(
            acks="all", enable_idempotence=True, max_request_size=2 * FETCH_BYTES, **options.connection()
        )
    )
