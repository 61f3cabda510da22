"""Kafka as several nodes, each broker and controller, with listeners of their
own for clients that reach them through a link which a test can cut."""

import subprocess
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.broker import JAVA, KafkaBroker, _free_ports, jars
from tests.harness.place import die_with_parent, remove, wait_for

HERE = "127.0.0.1"
# 16 random bytes in base64url, as Kafka wants to name a cluster.
CLUSTER_ID = "Zm9sZW5pLXRlc3RzLTAwMQ"


class Node(KafkaBroker):
    """One of a cluster's. start() returns before it serves."""

    def __init__(self, cluster, n, settings):
        super().__init__(cluster.directory / f"node-{n}", settings)
        self.cluster = cluster
        self.n = n
        # clients, controllers, then one per link
        self.ports = _free_ports(2 + len(cluster.links))

    def format(self):
        remove(self.directory)
        self.directory.mkdir(parents=True)
        links = [(getattr(link, "address", HERE), link.ports[self.n])
                 for link in self.cluster.links]
        names = [f"LINK{i}" for i in range(len(links))]
        own = [("PLAINTEXT", (HERE, self.ports[0])),
               *zip(names, ((HERE, p) for p in self.ports[2:]))]
        shown = [own[0], *zip(names, links)]

        def listeners(pairs):
            return ",".join(f"{n}://{a}:{p}" for n, (a, p) in pairs)
        settings = {
            **self.settings,
            "node.id": self.n + 1,
            "listeners": listeners(
                [*own, ("CONTROLLER", (HERE, self.ports[1]))]),
            "advertised.listeners": listeners(shown),
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(
                f"{n}:PLAINTEXT" for n in ("PLAINTEXT", "CONTROLLER", *names)),
            "controller.quorum.voters": self.cluster.voters(),
            "log.dirs": self.directory / "data",
        }
        self.properties.write_text(
            "".join(f"{k}={v}\n" for k, v in settings.items()))
        self._tool("format", "-t", CLUSTER_ID, "-c", self.properties)

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*JAVA, "-cp", jars(), "kafka.Kafka", self.properties],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, start_new_session=True,
                preexec_fn=die_with_parent)
        return self


class Cluster:
    """`n` nodes. Each of `links` has a list `ports`, one per node, where it
    listens (on its `address`, if it has one), and connect(node, port), which
    tells it where that node is."""

    embedded = False

    def __init__(self, directory, n=3, links=(), settings=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.links = list(links)
        copies = min(n, 3)
        more = {"offsets.topic.replication.factor": copies,
                "transaction.state.log.replication.factor": copies,
                "unclean.leader.election.enable": "false",
                "default.replication.factor": copies,
                "min.insync.replicas": min(copies, 2),
                "broker.session.timeout.ms": 2000 if n == 1 else 4000,
                "controller.quorum.election.timeout.ms": 500,
                "controller.quorum.fetch.timeout.ms": 1000,
                **(settings or {})}
        self.nodes = [Node(self, i, more) for i in range(n)]
        for i, node in enumerate(self.nodes):
            for k, link in enumerate(self.links):
                link.connect(i, node.ports[2 + k])

    def voters(self):
        return ",".join(f"{node.n + 1}@127.0.0.1:{node.ports[1]}"
                        for node in self.nodes)

    @property
    def bootstrap(self):
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self):
        for node in self.nodes:
            node.format()
            node.start()
        self.wait_serving()
        return self

    def metadata(self, topic=None):
        admin = AdminClient({"bootstrap.servers": self.bootstrap,
                             "socket.timeout.ms": 1000, "log_level": 0,
                             "reconnect.backoff.max.ms": 100})
        try:
            return admin.list_topics(topic, timeout=2)
        except KafkaException:
            return None

    def leader(self, topic, partition=0):
        """The node that leads a partition now, or None."""
        metadata = self.metadata(topic)
        if metadata is None or topic not in metadata.topics:
            return None
        at = metadata.topics[topic].partitions.get(partition)
        return self.nodes[at.leader - 1] if at and at.leader > 0 else None

    def wait_serving(self, timeout_s=90, again=False):
        """Until every node is there and each partition has all its copies.
        With `again` a node that ends is started again."""
        def whole():
            for node in self.nodes:
                if not node.running() and again:
                    node.start()
                elif not node.running():
                    raise RuntimeError(f"Kafka ended:\n{node.tail()}")
            found = self.metadata()
            return found and len(found.brokers) == len(self.nodes) and all(
                len(p.isrs) == len(p.replicas) and p.leader >= 0
                for t in found.topics.values() for p in t.partitions.values())
        wait_for("every Kafka node serves", whole, timeout_s, 0.1)
        return self

    def stop(self):
        for node in self.nodes:
            if node.running():
                node.process.terminate()
        for node in self.nodes:
            node.stop()

    def destroy(self):
        for node in self.nodes:
            node.kill9()
        remove(self.directory)
