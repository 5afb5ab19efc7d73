"""A Spark standalone cluster on loopback: a master and two workers as child processes."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORKERS = 2
START_S = 180.0  # on a machine that has other work


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """The cluster's address, spark://127.0.0.1:port, once both workers have registered."""
    import pyspark

    home = Path(pyspark.__file__).parent
    port = _free_port()
    master = f"spark://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
    }
    deploy = "org.apache.spark.deploy"
    here = ["--host", "127.0.0.1", "--webui-port", "0"]
    commands = [[f"{deploy}.master.Master", *here, "--port", str(port)]]
    for number in range(WORKERS):
        place = ["--work-dir", str(folder / f"worker-{number}")]
        room = ["--cores", "1", "--memory", "768m"]
        commands.append([f"{deploy}.worker.Worker", *here, *room, *place, master])
    logs = [folder / f"{name}.log" for name in ("master", "worker-0", "worker-1")]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("wb") as output:
                running.append(
                    subprocess.Popen(
                        [str(home / "bin" / "spark-class"), *command],
                        env=environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        cwd=folder,
                    )
                )
        _wait_for(running, logs)
        yield master
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(running: list[subprocess.Popen[bytes]], logs: list[Path]) -> None:
    until = time.monotonic() + START_S
    while sum("Successfully registered with master" in log.read_text() for log in logs) < WORKERS:
        ended = [process.args for process in running if process.poll() is not None]
        tail = "\n".join(log.read_text()[-2_000:] for log in logs)
        assert not ended, f"{ended} ended\n{tail}"
        assert time.monotonic() < until, f"no cluster within {START_S} s\n{tail}"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
