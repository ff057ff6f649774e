"""Every bound of the HTTP/2 guard as a named number, in one frozen value.

The numbers follow Envoy's edge defaults, gRPC proposals A8 and A9 and the CVE classes named in docs/grpc.md; each has a
test that crosses it.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one gRPC port accepts from its peers. Times are seconds, sizes bytes."""

    # Connections
    connections: int = 1_000
    connections_per_ip: int = 100
    handshake_s: float = 10.0  # TLS handshake, from accept
    preface_s: float = 5.0  # HTTP/2 preface and first SETTINGS, from the end of the handshake
    idle_s: float = 300.0  # without a call
    age_s: float = 3_600.0  # then two-phase GOAWAY, so that load balancers see the connection again
    age_jitter: float = 0.1  # share of age_s, so that connections opened together do not all close together
    age_grace_s: float = 30.0  # for calls that are still open after the GOAWAY
    ping_answer_s: float = 5.0  # for the answer to the PING between the two GOAWAYs; then the last one goes out anyway

    # Headers and frames
    streams: int = 100  # concurrent calls of one connection
    header_list: int = 16 * KIB
    header_count: int = 100
    header_block_s: float = 10.0  # a frame or a header block that has begun must end within
    frame: int = 16 * KIB
    stream_window: int = 256 * KIB  # credit of one stream; MiB would let 100 streams park 100 MiB
    connection_window: int = 1 * MIB

    # Messages
    message: int = 4 * MIB  # what gRPC implementations accept by default
    message_idle_s: float = 30.0  # between two pieces of one message
    partial_messages: int = 64 * MIB  # begun and not yet whole, over all calls of one connection

    # Small DATA frames not yet read, counted as 256 bytes less what they carry, over all calls of one connection. The
    # engine's own default (25 KiB) ends honest streams of small messages, which arrive one frame each.
    small_frames_unread: int = 8 * MIB

    # Writing to slow readers
    stream_unsent: int = 64 * KIB  # DATA queued for one stream before its sender waits
    connection_unsent: int = 256 * KIB  # the same over one connection
    control_unsent: int = 64 * KIB  # answers to control frames owed while a write is blocked; then reading stops
    write_stall_s: float = 20.0  # one write without any progress; then the connection is dropped

    # Keepalive enforcement, gRPC A8
    ping_interval_s: float = 300.0
    ping_interval_without_calls_s: float = 7_200.0
    ping_strikes: int = 2

    # Flood budgets: reaching the number is allowed, passing it ends the connection with ENHANCE_YOUR_CALM
    flood_window_s: float = 10.0
    pings: int = 100  # per flood window
    settings: int = 20  # per flood window
    other_frames: int = 1_000  # unknown types and acknowledgements nobody asked for, per flood window
    priorities_per_stream: int = 100
    window_updates_per_data: int = 10
    window_updates_free: int = 1_000  # before the ratio counts: a client may open windows before the first answer
    resets_per_s: int = 100
    reset_sample: int = 500  # of so many streams ...
    reset_share: float = 0.5  # ... at most this share may have been reset by the client within a second
    continuations: int = 64  # CONTINUATION frames of one header block
    empty_data: int = 10  # DATA frames without payload in a row
    protocol_errors: int = 100  # streams reset by us for violations (MadeYouReset), over the connection's life
    refused_streams_waiting: int = 100  # streams reset before their call could start
