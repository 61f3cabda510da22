"""Brokers: a real Apache Kafka, and the embedded one.

The real one is a single KRaft node. Its jars come from Maven Central once, into
KAFKA_CACHE (build/kafka of this clone by default). By hand, until Ctrl-C:

    python3 -m tests.harness.broker [DIRECTORY [ADDRESS_FILE]]
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.place import (REPO, die_with_parent, remove,
                                 run_directory, wait_for)
from tests.harness.program import Program

VERSION = "4.1.0"
FETCHER = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>foleni</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "group.initial.rebalance.delay.ms": 0,
    "auto.create.topics.enable": "false",
    # after kill -9 a broker may come back when its old session is over
    "broker.heartbeat.interval.ms": 500,
    "broker.session.timeout.ms": 2000,
}
JAVA = ["java", "-Xms256m", "-Xmx384m", "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1"]
FETCH_S = 600
PORT_TRIES = 3  # another program may take a free port before Kafka does


def jars():
    """The class path; fetches the jars when they are not there yet."""
    cache = Path(os.environ.get("KAFKA_CACHE") or REPO / "build" / "kafka")
    libs = cache / f"libs-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not libs.exists():
            _fetch(cache, libs)
    return f"{libs}/*"


def _fetch(cache, libs):
    (cache / "pom.xml").write_text(POM)
    partial = cache / "partial"
    remove(partial)
    done = subprocess.run(
        ["mvn", "-B", "-q", "-C", "-f", cache / "pom.xml",
         f"-Dmaven.repo.local={cache / 'repository'}",
         f"{FETCHER}:copy-dependencies", f"-DoutputDirectory={partial}",
         "-DincludeScope=runtime"],
        capture_output=True, text=True, timeout=FETCH_S)
    if done.returncode:
        raise RuntimeError(f"could not fetch Apache Kafka {VERSION} from "
                           f"Maven Central:\n{done.stdout[-3000:]}"
                           f"{done.stderr[-1000:]}")
    remove(cache / "repository")
    partial.rename(libs)


def _free_ports(n):
    """Ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


class KafkaBroker:
    """A real broker in `directory`. Its ports and data stay the same over its
    lives, from start() to destroy()."""

    embedded = False

    def __init__(self, directory, settings=None):
        self.directory = Path(directory)
        self.settings = {**SETTINGS, **(settings or {})}
        self.properties = self.directory / "server.properties"
        self.log = self.directory / "kafka.log"
        self.process = None
        self.ports = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Returns when it serves."""
        if self.ports:
            self._run()
            return self
        for last in (False, False, True)[-PORT_TRIES:]:
            self._format()
            try:
                self._run()
                return self
            except RuntimeError:
                self.ports = None
                if last or "Address already in use" not in self.tail():
                    raise

    def _format(self):
        """An empty broker on new ports; what was there is removed."""
        remove(self.directory)
        self.directory.mkdir(parents=True)
        self.ports = _free_ports(2)
        client, controller = (f"127.0.0.1:{p}" for p in self.ports)
        settings = {
            **self.settings,
            "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": self.directory / "data",
        }
        self.properties.write_text(
            "".join(f"{k}={v}\n" for k, v in settings.items()))
        cluster = self._tool("random-uuid")
        self._tool("format", "--standalone", "-t", cluster, "-c",
                   self.properties)

    def _java(self, *arguments):
        return [*JAVA, "-cp", jars(), *arguments]

    def _tool(self, *arguments):
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", *arguments),
            capture_output=True, text=True, timeout=180)
        if done.returncode:
            raise RuntimeError(f"could not format Kafka's storage:\n"
                               f"{done.stdout}{done.stderr}")
        return done.stdout.strip().splitlines()[-1] if done.stdout else ""

    def _run(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", self.properties),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, start_new_session=True,
                preexec_fn=die_with_parent)
        try:
            self.wait_serving()
        except Exception:
            self.kill9()
            raise

    def wait_serving(self, timeout_s=180):
        admin = AdminClient({"bootstrap.servers": self.bootstrap,
                             "socket.timeout.ms": 1000, "log_level": 0,
                             "reconnect.backoff.max.ms": 100})

        def answers():
            if not self.running():
                raise RuntimeError(f"Kafka ended with "
                                   f"{self.process.returncode}:\n"
                                   f"{self.tail()}")
            try:
                return admin.list_topics(timeout=1).brokers
            except KafkaException:
                return None
        wait_for("Kafka answers", answers, timeout_s)
        return self

    def tail(self, lines=40):
        text = self.log.read_text(errors="replace") if self.log.exists() \
            else ""
        return "\n".join(text.split("\n")[-lines:])

    def stop(self, timeout_s=30):
        """A clean shutdown; what it has stays on disk."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill9()
        self.process = None

    def kill9(self):
        if self.process is None:
            return
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def freeze(self):
        """Connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def destroy(self):
        self.kill9()
        remove(self.directory)
        self.ports = None


class EmbeddedBroker(Program):
    """foleni-broker: in memory only, on a new port in each of its lives."""

    embedded = True

    def __init__(self, directory, sets=None):
        self.directory = Path(directory)
        self.address = self.directory / "address"
        super().__init__("foleni-broker", self.directory / "broker.cfg",
                         self.directory / "foleni-broker.log",
                         {"broker.listen_file": self.address, **(sets or {})})

    @property
    def bootstrap(self):
        return self.address.read_text().strip()

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text("# defaults only\n")
        self.address.unlink(missing_ok=True)
        super().start()
        wait_for("foleni-broker serves",
                 lambda: self.check_running() and self.address.exists())
        return self


def main():
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else \
        run_directory("kafka")
    broker = KafkaBroker(directory).start()
    print(f"Apache Kafka {VERSION} serves at {broker.bootstrap}", flush=True)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(broker.bootstrap + "\n")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        broker.process.wait()
    except KeyboardInterrupt:
        broker.stop()


if __name__ == "__main__":
    main()
