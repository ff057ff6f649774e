"""A network in memory: streams with latency and bounded windows, partitions that stall links, resets, refusals."""

import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

WINDOW = 8 * 1024  # small, so that peers that do not read are felt soon
LATENCY_S = 0.02


@dataclass(eq=False)
class Link:
    """The path between one client and the server; stalled while a partition holds it."""

    name: str
    stalls: list[tuple[float, float]]
    stalled: bool = False
    stalled_at: float = 0.0
    healed: trio.Event = field(default_factory=trio.Event)
    window: int = WINDOW

    def stall(self) -> None:
        """Nothing gets through from now on; nothing is lost either."""
        if not self.stalled:
            self.stalled, self.healed, self.stalled_at = True, trio.Event(), trio.current_time()

    def heal(self) -> None:
        """What was held up goes on."""
        if self.stalled:
            self.stalls.append((self.stalled_at, trio.current_time()))
        self.stalled = False
        self.healed.set()

    async def passable(self) -> None:
        """Wait until nothing holds the link."""
        while self.stalled:
            await self.healed.wait()


class Pipe:
    """One direction of a connection."""

    def __init__(self, link: Link, latency: Callable[[], float]) -> None:
        self._link = link
        self._latency = latency
        self._buffer = bytearray()
        self._ended = False
        self._broken = False
        self._lot = trio.lowlevel.ParkingLot()

    async def send(self, data: bytes) -> None:
        rest = memoryview(bytes(data))
        await trio.sleep(self._latency())
        while rest:
            await self._link.passable()
            if self._broken:
                raise trio.BrokenResourceError
            if len(self._buffer) >= self._link.window:
                await self._lot.park()
                continue
            room = self._link.window - len(self._buffer)
            self._buffer += rest[:room]
            rest = rest[room:]
            self._lot.unpark_all()

    async def receive(self, most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._buffer or self._link.stalled:
            if self._broken:
                raise trio.BrokenResourceError
            if self._ended and not self._buffer:
                return b""
            if self._link.stalled:
                await self._link.passable()
            else:
                await self._lot.park()
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._lot.unpark_all()
        return data

    def end(self) -> None:
        self._ended = True
        self._lot.unpark_all()

    def break_(self) -> None:
        self._broken = True
        self._lot.unpark_all()


class Address:
    """What a server may ask about a connection's socket."""

    family = socket.AF_INET

    def __init__(self, ours: tuple[str, int], theirs: tuple[str, int]) -> None:
        self._ours, self._theirs = ours, theirs

    def getsockname(self) -> tuple[str, int]:
        return self._ours

    def getpeername(self) -> tuple[str, int]:
        return self._theirs


class Stream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, outgoing: Pipe, incoming: Pipe, address: Address) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self.socket = address

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        await self._outgoing.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError
        return await self._incoming.receive(max_bytes or 65536)

    async def send_eof(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        self._outgoing.end()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.break_()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Both directions break at once."""
        self._outgoing.break_()
        self._incoming.break_()


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts what clients connect to `port`."""

    def __init__(self, network: "Network", port: int) -> None:
        self._network = network
        self._port = port
        self.socket = Address(("127.0.0.1", port), ("", 0))
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](64)

    def arrive(self, stream: Stream) -> None:
        """A client connected; OSError when the queue is full or nobody accepts any more."""
        try:
            self._send.send_nowait(stream)
        except (trio.WouldBlock, trio.BrokenResourceError):
            raise ConnectionRefusedError(f"port {self._port}") from None

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self._network.closed(self._port, self)
        self._receive.close()
        await trio.lowlevel.checkpoint()


class Network:
    """All links and listeners of one simulated world."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.links: dict[str, Link] = {}
        self.stalls: list[tuple[float, float]] = []
        self._listeners: dict[int, Listener] = {}
        self._streams: list[Stream] = []
        self._next_port = 40_000

    def latency(self) -> float:
        """A draw of the time that a piece of data takes."""
        return self._rng.random() * LATENCY_S

    def link(self, name: str) -> Link:
        """The link of the named client."""
        return self.links.setdefault(name, Link(name, self.stalls))

    def listen(self, port: int) -> Listener:
        """Bind; OSError when the port is taken."""
        if port in self._listeners:
            raise OSError(98, f"port {port} is in use")
        self._listeners[port] = Listener(self, port)
        return self._listeners[port]

    def listening(self, port: int) -> bool:
        """Whether somebody listens there."""
        return port in self._listeners

    def closed(self, port: int, listener: Listener) -> None:
        """The listener is gone."""
        if self._listeners.get(port) is listener:
            del self._listeners[port]

    async def connect(self, client: str, port: int) -> Stream:
        """A new connection; OSError when nobody listens."""
        link = self.link(client)
        await trio.sleep(self.latency())
        await link.passable()
        listener = self._listeners.get(port)
        if listener is None:
            raise ConnectionRefusedError(f"port {port}")
        there, back = Pipe(link, self.latency), Pipe(link, self.latency)
        self._next_port += 1
        ours, theirs = (f"10.0.0.{len(client)}", self._next_port), ("10.0.1.1", port)
        near, far = Stream(there, back, Address(ours, theirs)), Stream(back, there, Address(theirs, ours))
        listener.arrive(far)
        self._streams = [*self._streams[-200:], near]
        return near

    def reset_some(self, share: float) -> int:
        """Reset that share of the recent connections; how many."""
        chosen = [stream for stream in self._streams if self._rng.random() < share]
        for stream in chosen:
            stream.reset()
        return len(chosen)

    def power_off(self) -> None:
        """The server's machine is gone: no listener, every connection broken."""
        self._listeners.clear()
        for stream in self._streams:
            stream.reset()
