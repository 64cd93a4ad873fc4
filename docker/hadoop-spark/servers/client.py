"""What a client has to know about a cluster, as names and values for its environment."""

from __future__ import annotations

import shlex

from servers import credentials, jars
from servers.layout import HOME, LOOPBACK, Cluster


def environment(cluster: Cluster) -> dict[str, str]:
    """Addresses, settings and commands; the password is in a file that only its owner reads."""
    return {
        "QUOTALOOP_STORE": f"hdfs://{cluster.address('NAMENODE_RPC_PORT')}/quotaloop",
        "QUOTALOOP_SPARK_MASTER": "yarn",
        "QUOTALOOP_HADOOP_BIN": str(HOME / "bin" / "hadoop"),
        "QUOTALOOP_HADOOP_STREAMING_JAR": str(jars.streaming_jar()),
        "QUOTALOOP_KAFKA_BROKERS": cluster.address("KAFKA_PORT"),
        "QUOTALOOP_WEBHDFS": f"http://{cluster.address('NAMENODE_HTTP_PORT')}",
        "HDFS_URL": f"hdfs://{cluster.address('NAMENODE_RPC_PORT')}",
        "HADOOP_CONF_DIR": str(cluster.hadoop_conf),
        "YARN_URL": f"http://{cluster.address('RESOURCEMANAGER_HTTP_PORT')}",
        "KAFKA_SASL_BROKERS": cluster.address("KAFKA_SASL_PORT"),
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USER": credentials.USER,
        "KAFKA_SASL_PASSWORD_FILE": str(cluster.kafka_client / "password"),
        "KAFKA_CA_FILE": str(cluster.kafka_client / "ca.pem"),
        **({} if cluster.by_name else {"SPARK_LOCAL_IP": LOOPBACK}),  # else a driver listens to the outside
    }


def exports(values: dict[str, str]) -> str:
    """The same as lines that a shell evaluates."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
