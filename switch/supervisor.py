"""The process of `tongbao serve`: opens, binds, spawns, watches, drains.

Before the loop: the data folder is locked, the LMK opened, PostgreSQL started (or adopted) and
brought to the schema, the sockets bound. Then, on the loop: one task a worker keeps it alive; one
watches PostgreSQL; a small server shows the metrics of all. The ready file appears when every worker
serves, and goes at the end.

    spawn ─► Start ─► Ready ─► serves ─► ends ─► spawn again after a pause
                                 │
                                 └─ drain (SIGINT, SIGTERM, SIGHUP) ─► ends ─► PostgreSQL given back

A second signal kills what is left. If this process is killed, the workers read the end of their
control socket and drain by themselves; PostgreSQL stays, and the next start adopts it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import fcntl
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
import zoneinfo
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import structlog

from hsm import lmk as lmks
from hsm.errors import VaultError
from iso8583.dialects import registry
from switch import control as messages, data_keys, lmk_socket, logs, readiness
from switch.acquirers.circuit import CircuitState
from switch.adapters.postgres.purge import STORE_ERRORS, NotAllowedError, purge_daily
from switch.adapters.postgres.store_watch import StoreWatch
from switch.adapters.postgres_place import EmbeddedPostgresError
from switch.adapters.system import SystemClock, core_dumps_off, pause, raise_open_files
from switch.certificates import Certificates
from switch.journal import StoreDownError
from switch.lmk_file import LmkError, open_lmk
from switch.metrics import Registry, merged
from switch.metrics_http import MetricsProtocol
from switch.store import Store, StoreError, check_vault, prepare_data_keys, record_of_node
from switch.texts import say
from switch.tls import TlsError
from switch.vaults import VaultUnusableError
from switch.version import version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.lmk import Lmk
    from switch.config import Config

ROOT = Path(__file__).resolve().parent.parent
WORKER = ("-P", "-m", "switch.worker")

EXIT_DONE, EXIT_FAILURE = 0, 4

PAUSE_S, PAUSE_MAX_S = 0.1, 5.0  # before a worker that died is spawned again; doubles
STEADY_S = 10.0  # a worker that lived this long begins with the short pause again
STARTS_MAX = 5  # of one worker in a row, before the node was ever ready
BIND_S = 10.0  # workers of a supervisor that was killed may hold the port while they drain
RECORD_STOP_S = 5.0  # for the audit log, when the node ends
LMK_LOOK_S = 0.05  # whether every worker works with another LMK
WATCH_S = 0.5  # between looks at PostgreSQL
OTHER_FILES = 256  # of a worker: everything but the terminals' connections
PURGED_LATELY_S = 43_200.0  # another node has purged: not again within this
KILL_GRACE_S = 10.0  # after engine.drain_s: flushing, and what the worker itself cuts off


class SupervisorError(Exception):
    """The node can not be served; the text is for the operator."""


def serve(
    config: Config,
    *,
    demo: bool,
    language: str,
    ready_file: Path | None = None,
    passphrase_fd: int | None = None,
) -> int:
    """Run the node until it is told to stop; the exit code."""
    core_dumps_off()
    files = raise_open_files()
    try:
        with ExitStack() as stack:
            config = with_room_for(files, config, language)
            lock = lock_data(config, language, stack)
            lmk = open_lmk(
                Path(config.hsm.lmk_file), demo=demo, language=language, passphrase_fd=passphrase_fd
            )
            configure_logs(config)
            tell("hsm_statement", language)
            if demo:
                tell("demo_statement", language)
            sockets = [
                stack.enter_context(bind(of.host, of.port, config.server.backlog, language))
                for of in config.listeners
            ]
            link_sockets = [
                stack.enter_context(
                    bind(of.listen_host, of.listen_port, config.server.backlog, language)
                )
                for of in config.links
                if of.listen_host
            ]
            registry_of_node = Registry()
            certificates = certificates_of(config, sockets, registry_of_node, language)
            store = stack.enter_context(
                Store(config, language, wait_s=config.database.start_wait_s)
            )
            asyncio.run(prepare_data_keys(store.dsn, lmk))
            asyncio.run(check_vault(store.dsn, config.hsm, language))
            facts = node_facts(demo=demo, lmk_id=lmk.lmk_id)
            asyncio.run(record_of_node(store.dsn, config.node, "node.start", facts))
            run_folder = Path(tempfile.mkdtemp(prefix="tongbao-"))
            stack.callback(shutil.rmtree, run_folder, ignore_errors=True)
            lock.write(f"{run_folder}\n")
            lock.flush()
            supervisor = Supervisor(
                config,
                store,
                sockets,
                lmk,
                certificates,
                registry_of_node,
                demo=demo,
                language=language,
                ready_file=ready_file,
                run_folder=run_folder,
                link_sockets=link_sockets,
            )
            try:
                code = asyncio.run(supervisor.run())
            finally:
                facts["lmk_id"] = supervisor.lmk_id
                record_stop(store.dsn, config.node, facts, language)
        tell("stopped", language)
    except (
        SupervisorError,
        LmkError,
        StoreError,
        data_keys.OtherLmkError,
        VaultUnusableError,
        StoreDownError,
    ) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_FAILURE
    return code


def node_facts(*, demo: bool, lmk_id: str) -> dict[str, object]:
    """What the audit log is told of a node: no operator starts it, a user of the system does."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return {"user": user, "pid": os.getpid(), "version": version(), "demo": demo, "lmk_id": lmk_id}


def record_stop(dsn: str, node: str, facts: dict[str, object], language: str) -> None:
    """A store that is away does not keep a node from ending: then the next start shows it."""
    try:
        asyncio.run(asyncio.wait_for(record_of_node(dsn, node, "node.stop", facts), RECORD_STOP_S))
    except (StoreDownError, OSError) as error:
        tell("not_recorded", language, reason=str(error) or type(error).__name__)


def tell(key: str, language: str, **values: Any) -> None:
    sys.stderr.write(say(key, language, **values) + "\n")
    sys.stderr.flush()


# -- before the loop ----------------------------------------------------------------------------


def with_room_for(files: int, config: Config, language: str) -> Config:
    """The configuration with no more terminals' connections than leave room, among so many open
    files a process, for those to banks, the store, siblings and logs: they must be made anew when lost.
    """
    room = (files - OTHER_FILES) // len(config.listeners)
    if room < 1:
        raise SupervisorError(
            say(
                "open_files_too_few",
                language,
                files=files,
                least=OTHER_FILES + len(config.listeners),
            )
        )
    if room >= config.server.connections:
        return config
    tell(
        "connections_lowered",
        language,
        files=files,
        wanted=config.server.connections,
        connections=room,
        enough=OTHER_FILES + config.server.connections * len(config.listeners),
    )
    replace = msgspec.structs.replace
    return replace(config, server=replace(config.server, connections=room))


def lock_data(config: Config, language: str, stack: ExitStack) -> TextIO:
    """One supervisor a data folder. The lock goes with the process, whatever ends it.

    The file names the process, and, once it has one, the folder of its sockets.
    """
    folder = config.data_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = stack.enter_context((folder / "serve.lock").open("a+", encoding="utf-8"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        pid = file.read().partition("\n")[0].strip() or "?"
        raise SupervisorError(say("already_serving", language, pid=pid, path=folder)) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def configure_logs(config: Config) -> None:
    file = logs.LogFile(
        config.log_folder / "supervisor.jsonl", config.log.file_bytes, config.log.files
    )
    logs.configure(
        SystemClock(), "supervisor", level=config.log.level, file=file, console_level="info"
    )


def bind(host: str, port: int, backlog: int, language: str) -> socket.socket:
    """A listening socket that workers inherit. Waits a little for a port that is being given up."""
    tries = int(BIND_S / 0.1)
    for left in range(tries, -1, -1):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                reason = error.strerror or str(error)
                raise SupervisorError(
                    say("not_bound", language, host=host, port=port, reason=reason)
                ) from error
        pause(0.1)
    raise AssertionError("unreachable")


def certificates_of(
    config: Config, sockets: Sequence[socket.socket], numbers: Registry, language: str
) -> Certificates:
    """What the listeners show. A node does not start with what it can not show."""
    names = [f"{at[0]}:{at[1]}" for at in (each.getsockname() for each in sockets)]
    listeners = list(zip(names, config.listeners, strict=True))
    try:
        return Certificates(listeners, config.tls, SystemClock(), numbers, config.links)
    except TlsError as error:
        raise SupervisorError(say("certificate_unusable", language, reason=error)) from error


# -- on the loop --------------------------------------------------------------------------------


class Worker:
    """One worker's place: the process in it now, and what is known of it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.ready = False
        self.links: dict[str, str] = {}
        self.snapshot = b""
        self.lmk_ids: tuple[str, ...] = ()  # under which it said that it opens keys


class Supervisor:
    """Keeps the workers alive and tells the world about them."""

    def __init__(
        self,
        config: Config,
        store: Store,
        sockets: Sequence[socket.socket],
        lmk: Lmk,
        certificates: Certificates,
        numbers: Registry,
        *,
        demo: bool,
        language: str,
        ready_file: Path | None,
        run_folder: Path,
        link_sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._config = msgspec.structs.replace(
            config, database=msgspec.structs.replace(config.database, dsn=store.dsn)
        )
        self._store = store
        self._sockets = sockets
        self._link_sockets = link_sockets
        self._addresses = [listening.getsockname() for listening in sockets]
        self._link_addresses = [listening.getsockname() for listening in link_sockets]
        self._lmk = lmk
        self._certificates = certificates
        self._demo = demo
        self._language = language
        self._ready_file = ready_file
        self._run_folder = run_folder
        self._workers = [Worker(index) for index in range(config.workers)]
        self._dead: list[bytes] = []  # last words of workers that died, merged into one
        self._was_ready = False
        self._draining = False
        self._failed = 0
        self._stop = asyncio.Event()
        self._metrics_address = ""
        self._log = structlog.get_logger()
        self.registry = numbers
        self._alive = self.registry.gauge("tongbao_workers", "Worker processes that serve")
        self._restarts = self.registry.counter(
            "tongbao_worker_restarts_total", "Worker processes that ended unasked"
        )
        self._postgres_restarts = self.registry.counter(
            "tongbao_postgres_restarts_total", "Times the embedded PostgreSQL was started again"
        )
        self._store_watch = StoreWatch(store.dsn, self.registry)
        self._began_s = 0.0

    @property
    def lmk_id(self) -> str:
        """Of the LMK that is worked with now."""
        return self._lmk.lmk_id

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for of in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(of, self._on_signal)
        self._began_s = loop.time()
        pages = {
            "/metrics": self._metrics_page,
            "/ready": self._ready_page,
            "/health": self._health_page,
        }
        try:
            server = await loop.create_server(
                lambda: MetricsProtocol(pages), self._config.metrics.host, self._config.metrics.port
            )
        except OSError as error:
            metrics = self._config.metrics
            raise SupervisorError(
                say(
                    "not_bound",
                    self._language,
                    host=metrics.host,
                    port=metrics.port,
                    reason=error.strerror,
                )
            ) from error
        lmk_server = await lmk_socket.listen(self._run_folder, self._on_lmk)
        host, port = server.sockets[0].getsockname()[:2]
        self._metrics_address = f"{host}:{port}"
        watches = [
            asyncio.create_task(work)
            for work in (
                self._watch_postgres(),
                self._watch_certificates(),
                self._store_watch.run(),
                self._purge_daily(),
            )
        ]
        keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        try:
            await self._stop.wait()
            await self._drain(keepers)
        finally:
            for task in (*keepers, *watches):
                task.cancel()
            await asyncio.gather(*keepers, *watches, return_exceptions=True)
            await self._store_watch.close()
            server.close()
            lmk_server.close()
            self._kill()
            if self._ready_file is not None:
                self._ready_file.unlink(missing_ok=True)
        if self._failed:
            raise SupervisorError(
                say(
                    "workers_failed",
                    self._language,
                    times=self._failed,
                    log=self._config.log_folder,
                )
            )
        self._log.info("node_stopped")
        return EXIT_DONE

    # -- workers

    async def _keep(self, worker: Worker) -> None:
        """Spawn the worker, listen to it, and spawn it again when it ended unasked."""
        loop = asyncio.get_running_loop()
        pause_s, starts = PAUSE_S, 0
        while not self._draining:
            began = loop.time()
            starts += 1
            code = await self._live(worker)
            if self._draining:
                return
            self._log.warning("worker_died", index=worker.index, exit=code)
            self._restarts.add()
            if not self._was_ready and starts >= STARTS_MAX:
                self._failed = starts
                self._stop.set()
                return
            if loop.time() - began > STEADY_S:
                pause_s = PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _live(self, worker: Worker) -> int:
        """One life of a worker, from its spawning to its end; the exit code."""
        ours, theirs = socket.socketpair()
        with theirs:
            sockets = (*self._sockets, *self._link_sockets)
            handed = (theirs.fileno(), *(each.fileno() for each in sockets))
            worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *WORKER,
                *map(str, handed),
                pass_fds=handed,
                env=worker_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the supervisor
            )
        reader, worker.writer = await asyncio.open_unix_connection(sock=ours)
        try:
            self._log.info("worker_started", index=worker.index, pid=worker.process.pid)
            start = messages.Start(
                self._config,
                worker.index,
                self._demo,
                lmks.hand_over(self._lmk),
                str(self._run_folder),
                registry.added(),
                self._certificates.pems(),
            )
            worker.writer.write(messages.pack(start))
            if self._draining:
                worker.writer.write(messages.pack(messages.Drain()))
            with suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    self._hear(worker, await messages.receive_from_worker(reader))
            return await worker.process.wait()
        finally:
            worker.writer.close()
            worker.ready, worker.lmk_ids = False, ()
            if worker.snapshot:
                self._dead = [merged([], [*self._dead, worker.snapshot]).snapshot()]
                worker.snapshot = b""
            self._count()

    def _hear(self, worker: Worker, message: messages.FromWorker) -> None:
        if isinstance(message, messages.Numbers):
            worker.snapshot = message.snapshot
            return
        if isinstance(message, messages.Held):
            worker.lmk_ids = message.lmk_ids
            return
        worker.ready, worker.links = True, message.links
        self._count()
        if all(each.ready for each in self._workers):
            self._announce()

    def _count(self) -> None:
        self._alive.set(sum(worker.ready for worker in self._workers))

    # -- another LMK

    async def _on_lmk(self, request: lmk_socket.Request) -> lmk_socket.Answer:
        """Work with another LMK, in every worker; answered when all do, or it takes too long."""
        refused = self._refuse_lmk(request)
        if refused:
            self._log.warning("lmk_refused", reason=refused)
            return lmk_socket.Answer(self._lmk.lmk_ids, say(refused, self._language))
        if isinstance(request, lmk_socket.Handed):
            self._lmk = lmks.take_over(request.lmk)
        elif request.lmk_id in self._lmk.lmk_ids:
            self._lmk = lmks.without_former(self._lmk)
        self._log.info("lmk_changed", lmk_id=self._lmk.lmk_id)
        message = messages.pack(messages.NewLmk(lmks.hand_over(self._lmk)))
        for worker in self._workers:
            if worker.writer is not None and not worker.writer.is_closing():
                worker.writer.write(message)
        until_s = asyncio.get_running_loop().time() + lmk_socket.ANSWER_S / 2
        while waiting := self._without(self._lmk):
            if asyncio.get_running_loop().time() > until_s or self._draining:
                break
            await asyncio.sleep(LMK_LOOK_S)
        return lmk_socket.Answer(self._lmk.lmk_ids, waiting=tuple(waiting))

    def _without(self, lmk: Lmk) -> list[int]:
        return [each.index for each in self._workers if each.lmk_ids != lmk.lmk_ids]

    def _refuse_lmk(self, request: lmk_socket.Request) -> str:
        """Why not: a key of `switch.texts`; empty where it may."""
        if self._demo:
            return "lmk_of_the_demo"
        if isinstance(request, lmk_socket.Dropped):
            return "lmk_not_former" if request.lmk_id == self._lmk.lmk_id else ""
        try:
            asked = lmks.take_over(request.lmk)
        except VaultError:
            return "lmk_not_following"
        if lmks.is_test_lmk(asked) or not lmks.may_follow(asked, self._lmk):
            return "lmk_not_following"
        return ""

    # -- what the world sees

    def _announce(self) -> None:
        """Every worker serves: the ready file (new pids after a restart), and one line, once."""
        facts = self._facts()
        if self._ready_file is not None:
            try:
                write_atomically(self._ready_file, msgspec.json.format(msgspec.json.encode(facts)))
            except OSError as error:  # a full disk: the node serves all the same
                self._log.error("ready_file_not_written", reason=error.strerror)
        if not self._was_ready:
            self._was_ready = True
            terminals = ", ".join(f"{at['host']}:{at['port']}" for at in facts["terminals"])
            sys.stdout.write(
                say(
                    "ready",
                    self._language,
                    version=version(),
                    terminals=terminals,
                    workers=len(self._workers),
                    metrics=f"http://{self._metrics_address}/metrics",
                )
                + "\n"
            )
            sys.stdout.flush()
            self._log.info("node_ready", terminals=terminals, metrics=self._metrics_address)

    def _facts(self) -> dict[str, Any]:
        links = {name: at for worker in self._workers for name, at in worker.links.items()}
        host, _, port = self._metrics_address.rpartition(":")
        return {
            "version": version(),
            "node": self._config.node,
            "demo": self._demo,
            "terminals": [
                {
                    "host": at[0],
                    "port": at[1],
                    "dialect": of.dialect,
                    "length": of.length,
                    "length_inclusive": of.length_inclusive,
                    "tpdu": of.tpdu,
                    "header_bytes": of.header_bytes,
                    "tls": bool(of.tls_certificate),
                    "client_certificates": bool(of.tls_clients),
                    "proxy": bool(of.proxy_from),
                }
                for of, at in zip(self._config.listeners, self._addresses, strict=True)
            ],
            "links": [{"acquirer": name, "address": at} for name, at in sorted(links.items())],
            "link_listeners": [
                {"acquirer": of.acquirer, "host": at[0], "port": at[1], "tls": bool(of.tls_key)}
                for of, at in zip(
                    [of for of in self._config.links if of.listen_host],
                    self._link_addresses,
                    strict=True,
                )
            ],
            "admin": None,
            "metrics": {"host": host, "port": int(port), "path": "/metrics"},
            "database": self._store.facts(),
            "pids": {
                "supervisor": os.getpid(),
                "workers": [
                    worker.process.pid if worker.process else 0 for worker in self._workers
                ],
                "postgres": self._store.embedded.pid if self._store.embedded else None,
            },
            "data": self._config.data,
            "log": str(self._config.log_folder),
        }

    def _merged(self) -> Registry:
        live = [worker.snapshot for worker in self._workers if worker.snapshot]
        return merged([self.registry.snapshot(), *live], self._dead)

    def _metrics_page(self) -> tuple[int, str, bytes]:
        return 200, "text/plain; version=0.0.4; charset=utf-8", self._merged().render()

    def _known(self) -> readiness.Known:
        links = {name: False for worker in self._workers for name in worker.links}
        circuits: dict[str, int] = {}
        lacking: dict[str, str] = {}
        for metric in self._merged().metrics:
            if metric.name == "tongbao_link_ready":
                links |= {of.labels[0]: of.value > 0 for of in metric.series.values()}
            elif metric.name == "tongbao_link_lacking":
                lacking |= {of.labels[0]: of.labels[1] for of in metric.series.values()}
            elif metric.name == "tongbao_link_circuit":
                for of in metric.series.values():
                    if of.labels[1] != CircuitState.CLOSED.value:
                        circuits[of.labels[0]] = circuits.get(of.labels[0], 0) + int(of.value)
        return readiness.Known(
            workers=sum(worker.ready for worker in self._workers),
            workers_wanted=len(self._workers),
            draining=self._draining,
            was_ready=self._was_ready,
            lmk_id=self._lmk.lmk_id,
            listeners=0 if self._draining else len(self._sockets),
            store_away_s=self._store_watch.away_s,
            store_reason=self._store_watch.reason,
            links=links,
            circuits=circuits,
            lacking=lacking,
            certificates=self._certificates.states(),
        )

    def _ready_page(self) -> tuple[int, str, bytes]:
        status, body = readiness.ready(self._known())
        return status, "application/json", msgspec.json.encode(body) + b"\n"

    def _health_page(self) -> tuple[int, str, bytes]:
        uptime_s = asyncio.get_running_loop().time() - self._began_s
        status, body = readiness.health(self._known(), uptime_s, version(), self._config.node)
        return status, "application/json", msgspec.json.encode(body) + b"\n"

    # -- certificates

    async def _watch_certificates(self) -> None:
        """Give workers what the files hold when that has changed; tell when one is about to end."""
        while any(self._certificates.pems()):
            await asyncio.sleep(self._config.tls.look_s)
            if self._certificates.look():
                self._tell_workers(messages.Certificates(self._certificates.pems()))

    def _tell_workers(self, message: messages.ToWorker) -> None:
        for worker in self._workers:
            if worker.writer is not None and not worker.writer.is_closing():
                worker.writer.write(messages.pack(message))

    # -- PostgreSQL

    async def _watch_postgres(self) -> None:
        """Start the embedded server again when it died; workers reconnect by themselves."""
        embedded = self._store.embedded
        said = ""
        while embedded is not None:
            await asyncio.sleep(WATCH_S)
            try:
                if await asyncio.to_thread(embedded.ensure_running):
                    self._postgres_restarts.add()
                    self._log.warning("postgres_restarted", pid=embedded.pid)
                    if self._was_ready and all(worker.ready for worker in self._workers):
                        self._announce()
                said = ""
            except (EmbeddedPostgresError, OSError) as error:
                if said != type(error).__name__:  # once: it is tried again until there is room
                    self._log.exception("postgres_not_restarted")
                said = type(error).__name__

    async def _purge_daily(self) -> None:
        """At the hour of the settings; the first node that comes to it does it for all."""
        retention = self._config.retention
        if not retention.purge_at:
            return
        clock = SystemClock()
        while True:
            await asyncio.sleep(
                seconds_until(retention.purge_at, self._config.timezone, clock.now())
            )
            try:
                done = await purge_daily(
                    self._store.owner_dsn,
                    retention,
                    self._config.node,
                    not_within_s=PURGED_LATELY_S,
                )
                if done is not None:
                    self._log.info("purged", rows=sum(went.rows for went in done))
            except NotAllowedError as error:
                self._log.error("purge_not_allowed", role=str(error))
            except STORE_ERRORS as error:
                self._log.warning("purge_broken_off", reason=str(error) or type(error).__name__)
            except Exception:  # noqa: BLE001 - tomorrow it may succeed
                self._log.exception("purge_failed")

    # -- the end

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._log.warning("stopping_at_once")
            self._kill()
        else:
            tell("draining", self._language, seconds=self._config.engine.drain_s)
            self._stop.set()

    async def _drain(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """Tell every worker; wait for them, within the bound. PostgreSQL is still there.

        Once the workers have closed their copies of the listening sockets too, who connects is
        refused, and finds another node.
        """
        self._draining = True
        for listening in (*self._sockets, *self._link_sockets):
            listening.close()
        self._tell_workers(messages.Drain())
        _, late = await asyncio.wait(keepers, timeout=self._config.engine.drain_s + KILL_GRACE_S)
        if late:
            self._log.error("workers_killed", count=len(late))
            self._kill()
            await asyncio.wait(late, timeout=KILL_GRACE_S)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.returncode is None:
                with suppress(ProcessLookupError):
                    worker.process.kill()


def seconds_until(at: str, timezone: str, now: dt.datetime) -> float:
    """From `now` to the next HH:MM of the zone; never 0, so that one day's hour comes once.

    >>> seconds_until("03:30", "Asia/Shanghai", dt.datetime(2026, 3, 4, 19, 0, tzinfo=dt.UTC))
    1800.0
    >>> seconds_until("03:30", "Asia/Shanghai", dt.datetime(2026, 3, 4, 19, 30, tzinfo=dt.UTC))
    86400.0
    """
    local = now.astimezone(zoneinfo.ZoneInfo(timezone))
    hour, minute = map(int, at.split(":"))
    then = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if then <= local:
        then += dt.timedelta(days=1)
    return (then.astimezone(dt.UTC) - now).total_seconds()


def worker_environment() -> dict[str, str]:
    """Ours, with our folders first on the import path (the `iso8583` is ours)."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path}


def write_atomically(path: Path, content: bytes) -> None:
    """Whole or not at all, for whoever waits for the file to appear. 0600."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content + b"\n")
    fresh.replace(path)
