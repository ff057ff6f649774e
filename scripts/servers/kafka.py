"""Apache Kafka: one broker in KRaft mode from its Maven artifacts, loopback only, no ZooKeeper."""

import shutil
import subprocess
from pathlib import Path

from servers.place import VAR, Problem, Server, free_port, make_folder, stop, wait_for_port

VERSION = "3.9.1"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-libraries</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

LOGGING = """log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %c %m%n
"""


def start(known: Server | None) -> Server:
    """Start the broker; after a crash the one that was there, with its data and ports. Raises: Problem."""
    java = shutil.which("java")
    if java is None:
        raise Problem("Kafka needs Java 17 or newer (Debian: openjdk-17-jre-headless)")
    libraries = _libraries()
    if known is not None and Path(known.folder, "data").exists():
        return _launch(java, libraries, Path(known.folder), known.port, known.extra)
    folder, port, controller = make_folder("kafka", None), free_port(), free_port()
    (folder / "server.properties").write_text(_settings(folder, port, controller))
    (folder / "log4j.properties").write_text(LOGGING)
    identity = _tool(java, libraries, folder, "random-uuid").strip().splitlines()[-1]
    _tool(java, libraries, folder, "format", "-t", identity, "-c", str(folder / "server.properties"))
    return _launch(java, libraries, folder, port, {"controller": str(controller)})


def end(server: Server) -> None:
    """Stop the broker."""
    stop(server)


def _libraries() -> Path:
    folder = VAR / "kafka" / VERSION
    if (folder / "complete").exists():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise Problem("fetching Kafka's libraries needs Maven (Debian: maven)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM)
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    command = [maven, "--quiet", "--batch-mode", "--file", str(folder / "pom.xml"), *goal]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"Maven could not fetch Kafka {VERSION}: {done.stdout[-1000:]}")
    (folder / "complete").touch()
    return folder


def _settings(folder: Path, port: int, controller: int) -> str:
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder / "data"}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def _tool(java: str, libraries: Path, folder: Path, *words: str) -> str:
    command = [java, f"-Dlog4j.configuration=file:{folder / 'log4j.properties'}", "-cp", f"{libraries}/*"]
    done = subprocess.run(
        [*command, "kafka.tools.StorageTool", *words], capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode != 0:
        raise Problem(f"Kafka's storage tool failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _launch(java: str, libraries: Path, folder: Path, port: int, extra: dict[str, str]) -> Server:
    options = ["-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", f"-Dlog4j.configuration=file:{folder / 'log4j.properties'}"]
    command = [java, *options, "-cp", f"{libraries}/*", "kafka.Kafka", str(folder / "server.properties")]
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    wait_for_port(port, process, log)
    return Server("kafka", process.pid, port, str(folder), f"127.0.0.1:{port}", VERSION, extra=extra)
