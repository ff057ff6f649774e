"""One HTTP/2 connection of a client: h2's state machine with a reader and a writer task on a Trio stream.

Whoever calls changes the state machine synchronously and wakes the writer, so a cancelled call never leaves half a
frame on the wire.
"""

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

WINDOW = 1 << 20  # what a server may send ahead on one call
CONNECTION_WINDOW = 4 << 20
READ = 64 << 10
Headers = list[tuple[str, str]]


class ConnectionLost(Exception):
    """The connection ended; what was not answered has an unknown outcome."""


class Exchange:
    """One call's two directions as they stand."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self.connection = connection
        self.number = number
        self.headers: Headers | None = None
        self.trailers: Headers | None = None
        self.received = bytearray()
        self.ended = False
        self.lost: str | None = None
        self._owed = 0  # flow control that the server gets back once this is read
        self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait for anything to happen to the call."""
        self.repay()
        await self._changed.wait()

    def notify(self) -> None:
        """Something happened."""
        self._changed.set()
        self._changed = trio.Event()

    def take(self, data: bytes, owed: int) -> None:
        """The server sent a piece."""
        self.received += data
        self._owed += owed

    def repay(self) -> None:
        """Let the server send as much again as was received."""
        if self._owed and not self.connection.closed:
            owed, self._owed = self._owed, 0
            self.connection.acknowledge(self, owed)


class Connection:
    """Calls share it. `usable` is false once the server says GOAWAY or the connection ended."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._exchanges: dict[int, Exchange] = {}
        self._wake = trio.Event()
        self._room = trio.Event()
        self.closed = False
        self.usable = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read and write until the connection ends; calls that are open then fail."""
        settings = {
            h2.settings.SettingCodes.ENABLE_PUSH: 0,
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
        }
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self._wake.set()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                task_status.started()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.closed, self.usable = True, False
            for exchange in self._exchanges.values():
                exchange.lost = exchange.lost or "the connection is lost"
                exchange.notify()
            self._room.set()
            await trio.aclose_forcefully(self._stream)

    async def open(self, headers: Iterable[tuple[str, str]], *, end: bool) -> Exchange:
        """Begin a call; waits while the server allows no more of them. Raises ConnectionLost."""
        while self.usable and self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            await self._room.wait()
        if not self.usable:
            raise ConnectionLost("the connection takes no more calls")
        number = self._h2.get_next_available_stream_id()
        exchange = self._exchanges[number] = Exchange(self, number)
        self._h2.send_headers(number, list(headers), end_stream=end)
        self._wake.set()
        return exchange

    async def send(self, exchange: Exchange, data: bytes, *, end: bool) -> None:
        """Send data, as flow control allows. Returns early when the server has ended the call meanwhile."""
        rest = memoryview(data)
        while rest or end:
            if exchange.ended or exchange.lost is not None or self.closed:
                return
            number = exchange.number
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if rest and room <= 0:
                await exchange.changed()
                continue
            piece, rest = rest[:room], rest[room:]
            self._h2.send_data(number, bytes(piece), end_stream=end and not rest)
            self._wake.set()
            await trio.lowlevel.checkpoint()
            if not rest:
                return

    def acknowledge(self, exchange: Exchange, size: int) -> None:
        """The call has read that much."""
        try:
            self._h2.acknowledge_received_data(size, exchange.number)
        except h2.exceptions.StreamClosedError:
            return  # the server has ended it: h2 has returned the connection's share
        self._wake.set()

    def close(self, exchange: Exchange) -> None:
        """The caller is done; a call that has not ended is reset."""
        if self._exchanges.pop(exchange.number, None) is None or self.closed:
            return
        exchange.repay()
        if not exchange.ended and exchange.lost is None:
            try:
                self._h2.reset_stream(exchange.number, h2.errors.ErrorCodes.CANCEL)
            except h2.exceptions.StreamClosedError:
                return
            self._wake.set()
        self._make_room()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            data = self._h2.data_to_send()
            if data:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return  # the reader sees the end as well

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive_some(READ)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return
            try:
                events = self._h2.receive_data(bytes(data))
            except h2.exceptions.ProtocolError:
                return
            for event in events:
                self._handle(event)
            self._wake.set()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ConnectionTerminated():
                self.usable = False
                self._make_room()
            case h2.events.WindowUpdated(stream_id=0) | h2.events.RemoteSettingsChanged():
                self._make_room()
                for exchange in self._exchanges.values():
                    exchange.notify()
            case _:
                found = self._exchanges.get(getattr(event, "stream_id", None) or 0)
                if found is not None:
                    _advance(found, event)
                    found.notify()
                elif isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def _make_room(self) -> None:
        self._room.set()
        self._room = trio.Event()


def _advance(exchange: Exchange, event: h2.events.Event) -> None:
    match event:
        case h2.events.ResponseReceived():
            exchange.headers = _texts(event.headers)
        case h2.events.TrailersReceived():
            exchange.trailers = _texts(event.headers)
        case h2.events.DataReceived():
            exchange.take(event.data or b"", event.flow_controlled_length or 0)
        case h2.events.StreamEnded():
            exchange.ended = True
        case h2.events.StreamReset():
            exchange.lost = f"the server reset the call ({event.error_code!s})"
        case _:
            return


def _texts(headers: Iterable[tuple[str | bytes, str | bytes]] | None) -> Headers:
    return [(_text(name), _text(value)) for name, value in headers or ()]


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
