"""Fuzzing the gRPC port with HTTP/2 frames: well-formed, mutated and random sequences, all from a seed.

The port must survive every sequence: no exception leaves a connection, no task and no connection stays behind, and a
client that behaves is still answered. The short form is tests/grpc_api/transport/test_fuzzing.py.
"""

import gc
import random
import resource
from typing import NamedTuple

import hpack
import trio
import trio.testing

from optimizer.grpc_api.transport.connection import Peer
from optimizer.grpc_api.transport.frames import PREFACE
from tests.grpc_api.conftest import Journal, make_port
from tests.grpc_api.echo import CHAT, COUNT, ECHO, SUM
from tests.grpc_api.peer import RawPeer, frame_message, text

_PATHS = (ECHO, CHAT, SUM, COUNT, "/nobody/Knows", "/", "*", "")
_CHECK_EVERY = 250  # sequences between two calls of a client that behaves


class Script:
    """The bytes of one hostile connection."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.encoder = hpack.Encoder()
        self.stream = 1
        self.wild = rng.random() < 0.5  # the others get far enough to open calls

    def write(self) -> bytes:
        """A sequence: usually a proper beginning, then anything."""
        rng = self.rng
        start = PREFACE if rng.random() < 0.95 else rng.randbytes(rng.randrange(40))
        frames = [self.frame(4, b"", stream=0, flags=0)] if rng.random() < 0.95 else []
        frames += [self.any_frame() for _ in range(rng.randrange(1, 25))]
        raw = bytearray(start + b"".join(frames))
        if rng.random() < (0.3 if self.wild else 0.05):
            for _ in range(rng.randrange(1, 4)):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        if rng.random() < 0.2:
            del raw[rng.randrange(len(raw)) :]
        return bytes(raw)

    def frame(self, kind: int, payload: bytes, *, stream: int, flags: int) -> bytes:
        """A frame whose length is usually right."""
        size = len(payload) if not self.wild or self.rng.random() < 0.97 else self.rng.randrange(1 << 15)
        return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def any_frame(self) -> bytes:
        """One frame of any kind, or a request that is nearly right."""
        rng = self.rng
        if rng.random() < (0.3 if self.wild else 0.8):
            return self.request()
        if not self.wild:
            return self.harmless_frame()
        stream = rng.choice((0, 1, 1, 3, 5, self.stream, self.stream + 2, 2, 2**31 - 1))
        kind = rng.choice((0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 0xEE))
        flags = rng.choice((0, 1, 4, 5, 0x8, 0xD, 0x20, 0x25, rng.randrange(256)))
        return self.frame(kind, self.payload(kind), stream=stream, flags=flags)

    def harmless_frame(self) -> bytes:
        """A frame that any peer may send at any time, in odd places."""
        rng = self.rng
        kind = rng.choice((2, 3, 6, 8, 10, 0xEE))
        stream = 0 if kind in (6, 8) else max(1, self.stream - 2 * rng.randrange(1, 4))
        payload = b"\0\0\1\0" if kind == 8 else self.payload(kind)
        return self.frame(kind, payload, stream=stream, flags=0)

    def request(self) -> bytes:
        """HEADERS on a fresh stream, often with DATA, sometimes with a reset behind it."""
        rng, stream = self.rng, self.stream
        self.stream += 2
        raw = self.frame(1, self.header_block(), stream=stream, flags=rng.choice((4, 4, 4, 5)))
        if rng.random() < 0.8:
            body = b"".join(self.payload(0) for _ in range(rng.randrange(1, 4)))
            raw += self.frame(0, body, stream=stream, flags=rng.choice((0, 1, 1)))
        if rng.random() < 0.1:
            raw += self.frame(3, b"\0\0\0\x08", stream=stream, flags=0)
        return raw

    def payload(self, kind: int) -> bytes:
        rng = self.rng
        if kind == 0:
            return rng.choice((text("hello"), frame_message(rng.randbytes(9)), rng.randbytes(rng.randrange(30)), b""))
        if kind in (1, 9):
            self.stream += 2
            return self.header_block()
        sizes = {2: 5, 3: 4, 4: 6, 5: 8, 6: 8, 7: 8, 8: 4}
        size = sizes.get(kind, rng.randrange(20))
        return rng.randbytes(size if not self.wild or rng.random() < 0.9 else rng.randrange(20))

    def header_block(self) -> bytes:
        """HPACK of a request that is right, wrong in its fields, or nonsense."""
        rng = self.rng
        if self.wild and rng.random() < 0.05:
            return rng.randbytes(rng.randrange(60))
        usual: list[tuple[bytes, bytes]] = [
            (b":method", rng.choice((b"POST",) * 9 + (b"GET", b"BREW", b"CONNECT"))),
            (b":scheme", rng.choice((b"http",) * 9 + (b"https", b""))),
            (b":path", rng.choice(_PATHS).encode()),
            (b"content-type", rng.choice((b"application/grpc",) * 5 + (b"application/grpc+proto", b"text/plain"))),
            (b"te", b"trailers"),
        ]
        odd: list[tuple[bytes, bytes]] = [
            (b"grpc-timeout", rng.choice((b"1S", b"0n", b"99999999H", b"-1S", b"1e3S", b"\xff"))),
            (b"grpc-encoding", rng.choice((b"identity", b"gzip", b"zstd"))),
            (b"x-odd-bin", rng.choice((b"AAAA", b"!!", b"\xff\xfe"))),
            (b"x-" + rng.randbytes(3).hex().encode(), rng.randbytes(9) if rng.random() < 0.05 else b"\xe4 \xff"),
            (b"Upper-Case" if rng.random() < 0.1 else b"lower-case", b"1"),
            (b"connection", b"close"),
            (b":status", b"200"),
        ]
        keep = [field for field in usual if rng.random() < 0.97] + [field for field in odd if rng.random() < 0.06]
        if rng.random() < 0.05:
            rng.shuffle(keep)
        return bytes(self.encoder.encode(keep))


async def attack(seed: int) -> Journal:
    """One hostile connection on a port of its own; what the port noted about it."""
    rng = random.Random(seed)
    port, journal = make_port()
    ours, theirs = trio.testing.memory_stream_pair()
    raw = Script(rng).write()
    ended = trio.Event()

    async def serve() -> None:
        await port.serve_secured(theirs, Peer(address="memory"))
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            while raw:
                size = rng.choice((len(raw), rng.randrange(1, 64)))
                await ours.send_all(raw[:size])
                raw = raw[size:]
                if rng.random() < 0.2:
                    await trio.testing.wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            pass  # the port had enough
        await trio.testing.wait_all_tasks_blocked()
        await ours.aclose()
        with trio.move_on_after(30) as late:
            await ended.wait()
        if late.cancelled_caught:
            journal.failures.append(RuntimeError("the connection outlived its peer"))
            nursery.cancel_scope.cancel()
    journal.calls = sum(connection.total for connection in journal.closed_connections)
    if port.connections:
        journal.failures.append(RuntimeError("a connection stayed behind"))
    return journal


async def behave() -> None:
    """A client that behaves is answered."""
    port, journal = make_port()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(port.serve_secured, theirs, Peer(address="memory"))
        peer = RawPeer(ours, port, journal)
        await peer.greet()
        trailers = await peer.call(ECHO, text("still here"))
        assert trailers["grpc-status"] == "0", trailers
        nursery.cancel_scope.cancel()


class Outcome(NamedTuple):
    """What failed, the kinds of endings that were seen, and how many calls got as far as being opened."""

    failed: list[tuple[int, BaseException]]
    endings: set[str]
    calls: int


def run(seeds: range) -> Outcome:
    """Attack once per seed."""

    async def all_of_them() -> Outcome:
        failed: list[tuple[int, BaseException]] = []
        endings: set[str] = set()
        calls = 0
        for seed in seeds:
            journal = await attack(seed)
            failed += [(seed, error) for error in journal.failures]
            failed += [(seed, RuntimeError(detail)) for why, detail in journal.endings() if why == "fault"]
            endings |= {why for why, _ in journal.endings()}
            calls += journal.calls
            if seed % _CHECK_EVERY == 0:
                await behave()
        return Outcome(failed, endings, calls)

    return trio.run(all_of_them, clock=trio.testing.MockClock(autojump_threshold=0))


def main(seeds: int) -> int:
    """The long form: that many sequences, and a flat memory."""
    failures = 0
    step = 10_000
    before = 0
    for start in range(0, seeds, step):
        failed, endings, _ = run(range(start, min(start + step, seeds)))
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = peak - before if before else 0
        before = peak
        failures += len(failed)
        print(
            f"seeds {start}..{start + step}: {len(failed)} failed, endings {sorted(endings)}, peak memory +{grown} KiB"
        )
        for seed, error in failed[:5]:
            print(f"  seed {seed}: {error!r}")
    print(f"frames: {seeds} sequences, {failures} failures")
    return failures
