"""The configuration of one node: one frozen tree from one TOML file.

Every setting stands here once: name, type, range, unit, what it means, default. The file
`tongbao.example.toml` is printed from this table (`python -m switch.config`). Merchants, terminals,
links and routes are not settings: they are reference data (`tongbao data apply`).

A file may leave out whatever it likes. An unknown key, a wrong type, a value outside its range and
settings that contradict each other are refused with the key's path and the reason.
"""

from __future__ import annotations

import os
import sys
import typing
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from hsm.host.addresses import addresses_of
from iso8583.dialects import registry
from iso8583.dialects.from_toml import DialectFileError, from_toml
from switch.dsn import dsns_of
from switch.proxy_protocol import networks


class ConfigError(Exception):
    """A setting that can not be used: the file, the key's path, the reason."""

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(f"{source}: {key}: {reason}" if key else f"{source}: {reason}")
        self.source = source
        self.key = key
        self.reason = reason


def whole(low: int, high: int, unit: str, says: str) -> Meta:
    """A whole number of `unit` between two bounds, both included."""
    return Meta(ge=low, le=high, description=says, extra={"unit": f"{unit}, {low} to {high}"})


def seconds(low: float, high: float, says: str) -> Meta:
    return Meta(ge=low, le=high, description=says, extra={"unit": f"seconds, {low:g} to {high:g}"})


def text(says: str, unit: str = "text", pattern: str | None = None) -> Meta:
    return Meta(description=says, pattern=pattern, extra={"unit": unit})


def choice(says: str, unit: str) -> Meta:
    return Meta(description=says, extra={"unit": unit})


HOST = "host name or address"
PORT = "port, 0 = any free one, to 65535"
FLAG = "true or false"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. The first line of its docstring stands above it in the example."""


class Listener(Section, frozen=True):
    """An address where terminals connect, and how they frame. One table for each address."""

    host: Annotated[str, text("0.0.0.0 for every interface", HOST, r"^\S+$")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="terminals' port", extra={"unit": PORT})
    ] = 0
    dialect: Annotated[str, text("of terminals whose profile is not known yet", "dialect")] = (
        "unionpay_pos"
    )
    length: Annotated[
        Literal["binary2", "ascii4"], choice("length header", "binary2 or ascii4")
    ] = "binary2"
    length_inclusive: Annotated[bool, choice("the length counts itself", FLAG)] = False
    tpdu: Annotated[bool, choice("five bytes of TPDU follow the length", FLAG)] = True
    header_bytes: Annotated[int, whole(0, 64, "bytes", "message header after the TPDU")] = 6
    tls_certificate: Annotated[
        str, text("chain of the node, PEM; empty: plain TCP", "file, read again when it changes")
    ] = ""
    tls_key: Annotated[str, text("its private key, PEM, without passphrase", "file")] = ""
    tls_clients: Annotated[
        str,
        text("authorities whose certificates terminals must show, PEM; empty: none asked", "file"),
    ] = ""
    proxy_from: Annotated[
        tuple[str, ...],
        Meta(
            max_length=256,
            description="balancers, who say by PROXY protocol v2 whom they stand for; nobody else may",
            extra={"unit": "addresses and networks"},
        ),
    ] = ()


class LinkEdge(Section, frozen=True):
    """What this node has of its own for a link. One table for each link that needs it."""

    acquirer: Annotated[str, text("the link", "its name in the reference data", r"^\S*$")] = ""
    tls_authorities: Annotated[
        str,
        text("who must vouch for the bank's certificate, PEM", "file, read again when it changes"),
    ] = ""
    tls_certificate: Annotated[
        str, text("chain that we show, PEM; empty: none, where the bank asks for none", "file")
    ] = ""
    tls_key: Annotated[str, text("its private key, PEM, without passphrase", "file")] = ""
    listen_host: Annotated[
        str, text("where the bank connects to us; empty: it does not", HOST, r"^\S*$")
    ] = ""
    listen_port: Annotated[
        int, Meta(ge=0, le=65535, description="its port", extra={"unit": PORT})
    ] = 0
    sources: Annotated[
        tuple[str, ...],
        Meta(
            max_length=256,
            description="from where the bank may connect; nobody else may",
            extra={"unit": "addresses and networks"},
        ),
    ] = ()


class Metrics(Section, frozen=True):
    """Metrics of all processes of the node, in Prometheus text at /metrics."""

    host: Annotated[str, text("where metrics are served", HOST, r"^\S+$")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="metrics port", extra={"unit": PORT})] = 0


class Database(Section, frozen=True):
    """The store. Without a DSN an embedded PostgreSQL is started in the data folder."""

    dsn: Annotated[str, text("postgresql://…, of one server or more; empty: embedded", "DSN")] = ""
    owner_dsn: Annotated[
        str, text("who may change the schema; empty: as dsn. Unused when embedded", "DSN")
    ] = ""
    start_wait_s: Annotated[
        float, seconds(0, 3600, "of `serve`, for a server that is away or starting")
    ] = 60.0
    read_connections: Annotated[
        int, whole(1, 64, "connections", "beside the writer's and the leases', for each worker")
    ] = 4
    keepalive_s: Annotated[float, seconds(1, 300, "TCP keepalive to the server")] = 10.0
    tcp_user_timeout_s: Annotated[
        float, seconds(1, 300, "an unacknowledged byte ends the connection")
    ] = 10.0


class Postgres(Section, frozen=True):
    """The embedded PostgreSQL; used only where database.dsn is empty."""

    bin: Annotated[str, text("other binaries than the wheel's; empty: the wheel's", "folder")] = ""
    user: Annotated[str, text("whom the server runs as when we are root", "system user")] = "nobody"
    fsync: Annotated[bool, choice("never false where money is real", FLAG)] = True


class Hsm(Section, frozen=True):
    """The vault. `hsm = "tcp://…"` before the first table stands for a table with `device` alone."""

    lmk_file: Annotated[
        str, text("sealed by `tongbao init`; outside the data folder", "file, mode 0600")
    ] = "tongbao.lmk"
    device: Annotated[
        str,
        text(
            "a network device for PIN, MAC and key work, or two with one LMK; empty: in this process",
            "tcp://host:port[,host:port]",
        ),
    ] = ""
    tls: Annotated[bool, choice("of the connections to devices", FLAG)] = False
    tls_authorities: Annotated[
        str, text("that sign devices' certificates, PEM; empty: the system's", "file")
    ] = ""
    tls_certificate: Annotated[str, text("shown to devices, chain, PEM", "file")] = ""
    tls_key: Annotated[str, text("its private key, PEM", "file")] = ""
    tls_name: Annotated[
        str, text("in devices' certificates; empty: the host of the address", "name")
    ] = ""
    header_bytes: Annotated[
        int, whole(4, 32, "bytes", "message header, as set at the device's host port")
    ] = 4
    connections: Annotated[int, whole(1, 64, "connections", "to each device, of each worker")] = 2
    in_flight: Annotated[
        int, whole(1, 4_096, "commands", "on one connection; then 96, or not sent to a bank")
    ] = 256
    timeout_s: Annotated[
        float, seconds(0.05, 30, "for a PIN block or MAC; then once more of the other device")
    ] = 1.0
    key_timeout_s: Annotated[float, seconds(0.05, 60, "for what makes or moves keys")] = 5.0
    connect_timeout_s: Annotated[float, seconds(0.05, 60, "for a connection to a device")] = 3.0
    probe_s: Annotated[
        float, seconds(0.5, 300, "a silent connection is asked for the device's LMK again")
    ] = 5.0
    reconnect_max_s: Annotated[float, seconds(0.1, 300, "longest pause between tries")] = 10.0
    start_wait_s: Annotated[float, seconds(0, 3_600, "of `serve`, for a device to answer")] = 30.0


class Server(Section, frozen=True):
    """Bounds of the terminals' side; each worker has them for itself."""

    frame_bytes: Annotated[int, whole(64, 65_535, "bytes", "longest frame taken")] = 4_096
    connections: Annotated[int, whole(1, 100_000, "connections", "more are closed at once")] = (
        16_384
    )
    terminals: Annotated[
        int,
        whole(1, 1_000_000, "terminals", "whose keys and batch are remembered, 5 KiB each at most"),
    ] = 32_768
    in_flight_per_connection: Annotated[
        int, whole(1, 4_096, "requests", "then the connection is not read further")
    ] = 64
    write_buffer_bytes: Annotated[
        int, whole(4_096, 16_777_216, "bytes", "answers a peer has not read; then it is closed")
    ] = 262_144
    backlog: Annotated[int, whole(1, 65_535, "connections", "waiting to be accepted")] = 1_024
    idle_s: Annotated[float, seconds(1, 86_400, "without a frame a connection is closed")] = 300.0
    frame_s: Annotated[
        float,
        seconds(0.1, 300, "first byte of a frame to its last; a peer has as long to let us close"),
    ] = 10.0
    odd_messages: Annotated[
        int, whole(1, 1_000, "messages", "that can not be answered, then the connection is closed")
    ] = 3
    refusals_per_source: Annotated[
        int, whole(0, 100_000, "log lines", "per source address and minute; the rest is counted")
    ] = 20
    refusal_sources: Annotated[
        int, whole(1, 1_000_000, "addresses", "remembered for that at one time")
    ] = 1_024
    session_sources: Annotated[
        int, whole(1, 64, "addresses", "remembered per terminal for its unsigned messages")
    ] = 4


class Tls(Section, frozen=True):
    """TLS of the terminals' listeners; the bounds are each worker's own."""

    handshake_s: Annotated[
        float, seconds(0.5, 60, "from the connection to the end of its handshake")
    ] = 10.0
    handshakes: Annotated[
        int, whole(1, 100_000, "connections", "at one time; then the oldest of them is closed")
    ] = 512
    look_s: Annotated[
        float, seconds(0.1, 3_600, "between looks at the files of the certificates")
    ] = 5.0
    warn_days: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=3_650)], ...],
        Meta(
            max_length=16,
            description="before a certificate ends, each told once; its end is told too",
            extra={"unit": "days"},
        ),
    ] = (30, 7, 1)


class Rates(Section, frozen=True):
    """How much one source or terminal may do; each worker counts for itself. 0: no bound of its own."""

    ipv4_bits: Annotated[
        int, whole(8, 32, "bits", "of an IPv4 address; what begins alike is one source")
    ] = 32
    ipv6_bits: Annotated[int, whole(16, 128, "bits", "the same of an IPv6 address")] = 64
    source_connections: Annotated[
        int, whole(0, 100_000, "connections", "of one source, open at one time; more are closed")
    ] = 0
    source_connections_per_s: Annotated[
        float, whole(0, 100_000, "connections a second", "of one source; more are closed")
    ] = 1_000.0
    source_connections_burst: Annotated[
        int, whole(1, 1_000_000, "connections", "beyond that, after a quiet time")
    ] = 16_384
    source_messages_per_s: Annotated[
        float, whole(0, 1_000_000, "messages a second", "of one source; more are read later")
    ] = 0.0
    source_messages_burst: Annotated[
        int, whole(1, 1_000_000, "messages", "beyond that, after a quiet time")
    ] = 10_000
    terminal_messages_per_s: Annotated[
        float,
        whole(0, 100_000, "messages a second", "of one terminal at one source; more get 96"),
    ] = 200.0
    terminal_messages_burst: Annotated[
        int, whole(1, 1_000_000, "messages", "beyond that, after a quiet time")
    ] = 2_000
    remembered: Annotated[
        int, whole(1, 1_000_000, "sources, and as many terminals", "150 bytes each")
    ] = 65_536


class Engine(Section, frozen=True):
    """Bounds and timers of the requests; each worker has them for itself."""

    in_flight: Annotated[
        int,
        whole(1, 100_000, "requests", "inside, banks' waits apart; more are answered 96 at once"),
    ] = 4_096
    wait_s: Annotated[
        float,
        seconds(
            0.05, 10, "a step of a request may wait this long for others; then new ones get 96"
        ),
    ] = 0.25
    send_by_s: Annotated[
        float, seconds(0.1, 60, "after its commit was issued an attempt may be sent this long")
    ] = 2.0
    attempts_max: Annotated[
        int,
        whole(1, 8, "attempts", "of one request; each after the first only where nothing was sent"),
    ] = 3
    lease_s: Annotated[
        float, seconds(1, 300, "of an owner and of a queue, by the store's clock")
    ] = 5.0
    lease_renew_s: Annotated[float, seconds(0.1, 60, "between renewals of leases")] = 1.0
    takeover_s: Annotated[float, seconds(0.1, 300, "between looks for owners that died")] = 1.0
    reference_poll_s: Annotated[
        float, seconds(0.05, 60, "between looks at the generation of the reference data")
    ] = 0.5
    repeat_wait_s: Annotated[
        float, seconds(1, 300, "a repeat waits for its request this long, then 98")
    ] = 50.0
    drain_s: Annotated[
        float, seconds(1, 600, "for requests in flight when the node is told to stop")
    ] = 40.0
    links_wait_s: Annotated[
        float, seconds(0, 600, "a worker that starts waits for its links, then serves without")
    ] = 10.0


class Handover(Section, frozen=True):
    """Between the workers of the node: requests for a link's connections that another worker has."""

    message_bytes: Annotated[int, whole(4_096, 16_777_216, "bytes", "longest message")] = 131_072
    buffer_bytes: Annotated[
        int, whole(4_096, 16_777_216, "bytes", "unread by a sibling; it gets no request meanwhile")
    ] = 262_144
    backlog_bytes: Annotated[
        int, whole(65_536, 1_073_741_824, "bytes", "unread by a sibling; then the stream is cut")
    ] = 16_777_216
    retry_s: Annotated[
        float, seconds(0.01, 60, "before a sibling is tried again; doubles up to 1 s")
    ] = 0.05
    beat_s: Annotated[float, seconds(0.05, 60, "between signs of life to the siblings")] = 1.0
    silent_s: Annotated[
        float, seconds(0.1, 300, "without one; then a sibling's connections are not used")
    ] = 2.5


class Journal(Section, frozen=True):
    """The writer of the journal; each worker has one."""

    group_max: Annotated[int, whole(1, 10_000, "commits", "in one flush")] = 256
    queue_max: Annotated[
        int, whole(1, 1_000_000, "commits", "that wait for a flush; more are answered 96")
    ] = 65_536
    request_id_block: Annotated[
        int, whole(1, 1_000_000, "numbers", "leased at a time by one worker")
    ] = 10_000
    link_stan_block: Annotated[
        int, whole(1, 100_000, "numbers", "leased at a time by one worker for one acquirer")
    ] = 1_000
    rrn_block: Annotated[int, whole(1, 1_000_000, "numbers", "leased at a time by one worker")] = (
        10_000
    )


class Queue(Section, frozen=True):
    """Store and forward: what holds for every acquirer. The rest is on its link."""

    poll_s: Annotated[float, seconds(0.01, 60, "between looks for items that are due")] = 0.2
    take: Annotated[int, whole(1, 10_000, "items", "read at a time")] = 64


class Rules(Section, frozen=True):
    """Windows and bounds of the rules of money (refunds, holds, sign-on)."""

    refund_days: Annotated[int, whole(1, 3_650, "days", "after the sale")] = 180
    hold_days: Annotated[
        int, whole(1, 365, "days", "that a pre-authorisation may be completed or voided in")
    ] = 30
    completion_percent: Annotated[
        int, whole(100, 200, "percent", "of a pre-authorisation that its completion may take")
    ] = 115
    old_keys_s: Annotated[
        float, seconds(0, 86_400, "the former keys of a terminal stay good after a sign-on")
    ] = 600.0
    sign_ons: Annotated[
        int, whole(1, 10_000, "sign-ons", "of one terminal in sign_on_window_s; more are refused")
    ] = 20
    sign_on_window_s: Annotated[float, seconds(1, 86_400, "see sign_ons")] = 60.0


class Batch(Section, frozen=True):
    """Life of a terminal's batch."""

    items_max: Annotated[
        int, whole(1, 999, "items", "on either side; then new sales are answered 65")
    ] = 900
    upload_s: Annotated[float, seconds(1, 86_400, "for an upload, then it is compared as is")] = (
        1_800.0
    )


class Downloads(Section, frozen=True):
    """What terminals are asked for by the digit in the header of an answer (docs/pos.md)."""

    ask_s: Annotated[
        float, seconds(0, 86_400, "until a terminal is asked again for what it did not take")
    ] = 60.0
    sign_on_again_s: Annotated[
        float, seconds(0, 2_592_000, "age of keys at which a sign-on is asked for; 0: never")
    ] = 0.0


class Settlement(Section, frozen=True):
    """Tolerances and waits of the day's end."""

    fee_tolerance_row_minor: Annotated[
        int, whole(0, 100_000, "minor units", "a file's fee may differ from ours, in one row")
    ] = 2
    fee_tolerance_file_minor: Annotated[
        int, whole(0, 1_000_000_000, "minor units", "the same, summed over a file")
    ] = 100_000
    file_fee_bound_ppm: Annotated[
        int, whole(0, 1_000_000, "millionths of the turnover", "fees above wait for a person")
    ] = 50_000
    file_max_mib: Annotated[
        int, whole(1, 1_000, "MiB", "of a clearing file, unpacked; a larger one stays in the inbox")
    ] = 1_000
    window_days: Annotated[
        int, whole(0, 30, "days", "settlement dates of record and row may be apart")
    ] = 1
    overdue_days: Annotated[
        int, whole(0, 30, "working days", "after a network's money is due, until it is a case")
    ] = 1
    freeze_wait_s: Annotated[float, seconds(1, 3_600, "for requests that are still undecided")] = (
        90.0
    )
    engine: Annotated[
        str,
        text(
            "of the day's end; a cluster needs the extra `spark` and the data folder on a shared disk",
            "duckdb, spark://host:port, local[2]",
            r"^(duckdb|spark://[^\s/]+|local(\[(\d+|\*)\])?)$",
        ),
    ] = "duckdb"
    engine_threads: Annotated[int, whole(1, 256, "threads", "of that engine")] = 2
    engine_memory_mib: Annotated[
        int, whole(64, 1_048_576, "MiB", "of that engine; more is spilled into books/")
    ] = 1_024


class People(Section, frozen=True):
    """Operators: lock-out and enrolment."""

    failures_max: Annotated[
        int, whole(1, 100, "failures", "in a row, then an operator is locked out")
    ] = 5
    lock_out_s: Annotated[
        float, seconds(1, 86_400, "after the last failure of an operator who is locked out")
    ] = 900.0
    enrolment_s: Annotated[
        float, seconds(60, 2_592_000, "an enrolment code is good, from its approval")
    ] = 86_400.0


class Disputes(Section, frozen=True):
    """Working days to go on, by what a dispute waits for; networks differ."""

    calendar: Annotated[
        str, text("whose working days; empty: Monday to Friday", "calendar of the reference data")
    ] = ""
    query: Annotated[int, whole(1, 366, "working days", "to answer a query")] = 5
    retrieval: Annotated[int, whole(1, 366, "working days", "to answer a retrieval")] = 10
    representment: Annotated[int, whole(1, 366, "working days", "to claim a chargeback again")] = 20
    network: Annotated[
        int, whole(1, 366, "working days", "for the network's row of what was claimed again")
    ] = 10
    second_chargeback: Annotated[
        int, whole(1, 366, "working days", "for the issuer's second chargeback")
    ] = 20
    arbitration: Annotated[int, whole(1, 366, "working days", "to file for arbitration")] = 20
    award: Annotated[int, whole(1, 1_000, "working days", "for the award of an arbitration")] = 60
    quiet: Annotated[
        int, whole(1, 1_000, "working days", "after an answer, until the issuer asks no more")
    ] = 120
    credit_adjustment: Annotated[
        int, whole(1, 366, "working days", "for the network's row of a credit adjustment")
    ] = 10
    claim: Annotated[int, whole(1, 366, "working days", "... of a claim")] = 20
    collection: Annotated[int, whole(1, 366, "working days", "... of a collection")] = 30
    manual_refund: Annotated[int, whole(1, 366, "working days", "... of a manual refund")] = 10


class Retention(Section, frozen=True):
    """How long rows are kept, by business date; `tongbao purge` and the node itself drop what is older."""

    duplicate_window_days: Annotated[
        int, whole(7, 3_650, "days", "a repeat is recognised after its request")
    ] = 14
    journal_days: Annotated[
        int, whole(30, 36_500, "days", "requests, outcomes and all that belongs to them")
    ] = 1_830
    batches_days: Annotated[int, whole(30, 36_500, "days", "batches, after they were closed")] = 730
    sessions_days: Annotated[
        int, whole(7, 3_650, "days", "key sets that were replaced, addresses of closed batches")
    ] = 90
    purge_at: Annotated[
        str,
        text(
            "when a node purges, in `timezone`; empty: never",
            "HH:MM",
            r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        ),
    ] = "03:30"


class Log(Section, frozen=True):
    """JSON lines in the folder log/ of the data folder."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], choice("least", "debug, info, warning, error")
    ] = "info"
    file_bytes: Annotated[
        int, whole(65_536, 10_737_418_240, "bytes", "then a new file is begun")
    ] = 67_108_864
    files: Annotated[int, whole(1, 1_000, "files", "kept of each log; the oldest is dropped")] = 8
    lines_max: Annotated[
        int, whole(1, 1_000_000, "lines", "of authorisations, that are written when so many wait")
    ] = 256
    flush_s: Annotated[
        float, seconds(0.01, 60, "between writes and counts of authorisation lines")
    ] = 0.25


class Config(Section, frozen=True):
    """All settings of one node."""

    node: Annotated[
        str, text("unique in the cluster", "letters, digits, dash", r"^[A-Za-z0-9-]{1,32}$")
    ] = "node1"
    data: Annotated[str, text("store, logs, reports", "folder")] = "var"
    workers: Annotated[int, whole(1, 64, "processes", "that serve terminals and links")] = 2
    timezone: Annotated[str, text("of operators and reports", "IANA name")] = "Asia/Shanghai"
    language: Annotated[
        Literal["", "en", "zh"], choice("of operators; empty: as LANG says", "en or zh")
    ] = ""
    dialects: Annotated[
        tuple[str, ...],
        Meta(
            max_length=registry.ADDED_MAX,
            description="dialects of your own, for terminals and links (docs/dialects.md)",
            extra={"unit": "TOML files"},
        ),
    ] = ()
    listeners: Annotated[tuple[Listener, ...], Meta(min_length=1, max_length=32)] = (Listener(),)
    links: Annotated[tuple[LinkEdge, ...], Meta(max_length=256)] = ()
    metrics: Metrics = Metrics()
    database: Database = Database()
    postgres: Postgres = Postgres()
    hsm: Hsm = Hsm()
    server: Server = Server()
    tls: Tls = Tls()
    rates: Rates = Rates()
    engine: Engine = Engine()
    handover: Handover = Handover()
    journal: Journal = Journal()
    queue: Queue = Queue()
    rules: Rules = Rules()
    batch: Batch = Batch()
    downloads: Downloads = Downloads()
    settlement: Settlement = Settlement()
    disputes: Disputes = Disputes()
    people: People = People()
    retention: Retention = Retention()
    log: Log = Log()

    @property
    def data_folder(self) -> Path:
        return Path(self.data)

    @property
    def log_folder(self) -> Path:
        return Path(self.data) / "log"


# -- reading ------------------------------------------------------------------------------------


def load(path: Path | None) -> Config:
    """The configuration in `path`, or the defaults; relative paths count from the file's folder.

    The dialects it names are known afterwards. Raises `ConfigError`.
    """
    if path is None:
        return _absolute(Config(), Path.cwd())
    config = _absolute(_decoded(read_text(path), str(path)), path.resolve().parent)
    know_dialects(config)
    return _checked(config, str(path))


def know_dialects(config: Config) -> None:
    """Make the dialects of the configuration's files known in this process. Raises `ConfigError`."""
    for file in config.dialects:
        try:
            registry.add(from_toml(read_text(Path(file)), registry.get))
        except DialectFileError as error:
            raise ConfigError(file, "", str(error)) from error
        except ValueError as error:
            raise ConfigError(file, "name", str(error)) from error


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"can not be read: {error}") from error


def parse(source: str, name: str = "config") -> Config:
    """A configuration from TOML text.

    >>> parse("workers = 3").workers
    3
    >>> parse("[server]\\nidle_s = 0")
    Traceback (most recent call last):
    switch.config.ConfigError: config: server.idle_s: expected `float` >= 1.0
    >>> parse("[server]\\nidle = 10")
    Traceback (most recent call last):
    switch.config.ConfigError: config: server.idle: no such setting
    """
    return _checked(_decoded(source, name), name)


def _decoded(source: str, name: str) -> Config:
    try:
        tables = msgspec.toml.decode(source)
        if isinstance(tables.get("hsm"), str):
            tables["hsm"] = {"device": tables["hsm"]}
        return msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(name, *reason_of(str(error))) from error
    except msgspec.DecodeError as error:
        raise ConfigError(name, "", f"is not TOML: {error}") from error


def _checked(config: Config, name: str) -> Config:
    contradiction = _contradiction(config)
    if contradiction:
        raise ConfigError(name, *contradiction)
    return config


def reason_of(message: str) -> tuple[str, str]:
    """msgspec's `reason - at `$.a.b`` as (key's path, reason)."""
    reason, _, at = message.partition(" - at `$")
    path = at.rstrip("`").lstrip(".")
    unknown = "Object contains unknown field `"
    if reason.startswith(unknown):
        name = reason.removeprefix(unknown).rstrip("`")
        return (f"{path}.{name}" if path else name), "no such setting"
    return path, reason[:1].lower() + reason[1:]


# Files beside the zones: `right/` counts leap seconds, which no bank's clock does; the others are what a
# machine happens to be set to, or nothing.
NO_ZONES = ("right/", "posix/", "posixrules", "localtime", "Factory")


def is_time_zone(name: str) -> bool:
    """Whether the machine knows it. The one is looked up: listing all takes every command 30 ms."""
    if name.startswith(NO_ZONES):
        return False
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of zones, as "Asia" is
        return False
    return True


def _contradiction(config: Config) -> tuple[str, str] | None:
    """The first setting that does not go with another, or that only the machine can judge."""
    if not is_time_zone(config.timezone):
        return "timezone", f"no such time zone: {config.timezone}"
    engine = config.engine
    if engine.lease_renew_s * 2 > engine.lease_s:
        return "engine.lease_renew_s", "must be at most half of engine.lease_s"
    if engine.send_by_s >= engine.lease_s:
        return "engine.send_by_s", "must be less than engine.lease_s"
    if config.handover.beat_s * 2 > config.handover.silent_s:
        return "handover.beat_s", "must be at most half of handover.silent_s"
    retention = config.retention
    if retention.journal_days <= config.rules.refund_days:
        return "retention.journal_days", "must be more than rules.refund_days"
    if retention.duplicate_window_days > retention.journal_days:
        return "retention.duplicate_window_days", "must be at most retention.journal_days"
    if config.server.frame_s > config.server.idle_s:
        return "server.frame_s", "must be at most server.idle_s"
    for index, listener in enumerate(config.listeners):
        if listener.dialect not in registry.names():
            names = ", ".join(registry.names())
            return f"listeners[{index}].dialect", f"no such dialect; there are {names}"
        wrong = _contradiction_of_listener(listener)
        if wrong is not None:
            return f"listeners[{index}].{wrong[0]}", wrong[1]
    for index, link in enumerate(config.links):
        wrong = _contradiction_of_link(link, [each.acquirer for each in config.links])
        if wrong is not None:
            return f"links[{index}].{wrong[0]}", wrong[1]
    database = config.database
    for name, dsn in (("dsn", database.dsn), ("owner_dsn", database.owner_dsn)):
        try:
            _ = dsns_of(dsn) if dsn else []
        except ValueError as error:
            return f"database.{name}", str(error)
    faulty = _device_fault(config.hsm)
    if faulty is not None:
        return faulty
    fixed = [(listener.host, listener.port) for listener in config.listeners if listener.port]
    fixed += [(link.listen_host, link.listen_port) for link in config.links if link.listen_port]
    fixed += [(config.metrics.host, config.metrics.port)] if config.metrics.port else []
    for at in fixed:
        if fixed.count(at) > 1:
            return "listeners", f"two of the node's addresses are {at[0]}:{at[1]}"
    return None


def _device_fault(hsm: Hsm) -> tuple[str, str] | None:
    try:
        _ = addresses_of(hsm.device) if hsm.device else ()
    except ValueError as error:
        return "hsm.device", str(error)
    if bool(hsm.tls_certificate) is not bool(hsm.tls_key):
        return "hsm.tls_certificate", "certificate and key come together"
    if not hsm.tls and (hsm.tls_certificate or hsm.tls_authorities or hsm.tls_name):
        return "hsm.tls", "must be true where certificates are named"
    return None


def _contradiction_of_listener(listener: Listener) -> tuple[str, str] | None:
    if bool(listener.tls_certificate) is not bool(listener.tls_key):
        return "tls_certificate", "certificate and key come together"
    if listener.tls_clients and not listener.tls_certificate:
        return "tls_clients", "terminals show certificates only where the node has one"
    try:
        networks(listener.proxy_from)
    except ValueError as error:
        return "proxy_from", str(error)
    return None


def _contradiction_of_link(link: LinkEdge, names: list[str]) -> tuple[str, str] | None:
    if not link.acquirer or names.count(link.acquirer) > 1:
        return "acquirer", "names one link, and no two tables the same"
    if bool(link.tls_certificate) is not bool(link.tls_key):
        return "tls_certificate", "certificate and key come together"
    if link.tls_certificate and not link.tls_authorities:
        return "tls_authorities", "who vouches for the bank's certificate must be named, too"
    if link.listen_host and link.tls_authorities and not link.tls_certificate:
        return "tls_certificate", "who is connected to by TLS has one"
    if link.listen_port and not link.listen_host:
        return "listen_host", "must be given where a port is"
    if link.listen_host and not link.sources:
        return "sources", "says from where the bank may connect"
    try:
        networks(link.sources)
    except ValueError as error:
        return "sources", str(error)
    return None


def _absolute(config: Config, base: Path) -> Config:
    """With every path absolute, so that a process may stand in any folder."""

    def absolute(path: str) -> str:
        # `..` goes by name: a link above it is the operator's own
        return os.path.normpath((base / Path(path).expanduser()).absolute()) if path else ""

    replace = msgspec.structs.replace
    return replace(
        config,
        data=absolute(config.data),
        listeners=tuple(
            replace(
                listener,
                tls_certificate=absolute(listener.tls_certificate),
                tls_key=absolute(listener.tls_key),
                tls_clients=absolute(listener.tls_clients),
            )
            for listener in config.listeners
        ),
        links=tuple(
            replace(
                link,
                tls_authorities=absolute(link.tls_authorities),
                tls_certificate=absolute(link.tls_certificate),
                tls_key=absolute(link.tls_key),
            )
            for link in config.links
        ),
        dialects=tuple(map(absolute, config.dialects)),
        hsm=replace(
            config.hsm,
            lmk_file=absolute(config.hsm.lmk_file),
            tls_authorities=absolute(config.hsm.tls_authorities),
            tls_certificate=absolute(config.hsm.tls_certificate),
            tls_key=absolute(config.hsm.tls_key),
        ),
        postgres=replace(config.postgres, bin=absolute(config.postgres.bin)),
    )


def with_data(config: Config, folder: Path | None) -> Config:
    """The same with another data folder (`--data DIR`)."""
    if folder is None:
        return config
    return msgspec.structs.replace(config, data=str(folder.absolute()))


def credential(name: str) -> Path | None:
    """A file that systemd gave this service (`LoadCredential=name:…`)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / name if folder else None
    return path if path is not None and path.is_file() else None


def operator_named(option: str) -> str:
    """Who runs a command: what `--operator` says, else TONGBAO_OPERATOR."""
    return option or os.environ.get("TONGBAO_OPERATOR", "")


def ssh_agent() -> Path | None:
    """The socket of the operator's SSH agent."""
    path = os.environ.get("SSH_AUTH_SOCK")
    return Path(path) if path else None


def operator_language(option: str, config: Config | None = None) -> str:
    """`en` or `zh`: what `--lang` says, else the configuration, else the environment."""
    if option in ("en", "zh"):
        return option
    if config is not None and config.language:
        return config.language
    said = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if said.startswith("zh") else "en"


# -- the example --------------------------------------------------------------------------------


def example() -> str:
    """Every setting of a node with its meaning, unit, range and default, as TOML that reads as the defaults."""
    heading = (
        "# Every setting of a node, with its default. Leave out what you do not change.",
        "# Printed by `python -m switch.config`; paths count from the folder of this file.",
    )
    return "\n".join([*heading, "", *example_lines(Config())]) + "\n"


def example_lines(defaults: Section) -> list[str]:
    """The settings of `defaults`, then its tables; of a list of tables, its first."""
    shape = type(defaults)
    lines = _example_settings(shape, defaults)
    for name in typing.get_type_hints(shape):
        value = getattr(defaults, name)
        is_list = isinstance(value, tuple)
        inside = value[0] if is_list and value else value
        if isinstance(inside, Section):
            title = (inside.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"# {title}", f"[[{name}]]" if is_list else f"[{name}]"]
            lines += _example_settings(type(inside), inside)
        elif is_list and name in OF_NONE:
            of = OF_NONE[name]
            title = (of.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"# {title}", f"# [[{name}]]"]
            lines += [f"# {line}" for line in _example_settings(of, of())]
    return lines


OF_NONE = {"links": LinkEdge}  # lists of tables of which there are none by default


def _example_settings(shape: type[Section], values: Section) -> list[str]:
    lines = []
    for name, annotation in typing.get_type_hints(shape, include_extras=True).items():
        meta = next((m for m in typing.get_args(annotation) if isinstance(m, Meta)), None)
        if meta is None or meta.extra is None:
            continue  # a table of its own
        setting = f"{name} = {_toml(getattr(values, name))}"
        lines.append(f"{setting:<36} # {meta.description} ({meta.extra['unit']})")
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    return msgspec.json.encode(value).decode()  # a TOML basic string, or a float


if __name__ == "__main__":
    sys.stdout.write(example())
