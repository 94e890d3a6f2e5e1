"""compose.yaml against its schema, and against what else the project says: files, ports, topics, versions."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deployments import COMPOSE, IMAGE, ROOT, instructions, last, of_target, program
from tickcast import __version__, kafka_jars, state_topic
from tickcast import config as configuration
from tickcast.broker import SETTINGS

yaml = pytest.importorskip("yaml", reason="pip install pyyaml")

FILE = COMPOSE / "compose.yaml"
TREE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = TREE["services"]
CONFIG = configuration.load(COMPOSE / "tickcast.toml", {})
# Ours, as against those that come from elsewhere.
DAEMONS = ("tickcast", "ticks")
# What the demo leaves behind, or the user names: there or not.
OF_THE_USER = re.compile(r"\$\{\w+:-(?P<default>.+)\}")


def mounts(name: str) -> dict[str, str]:
    """Where in the container -> what of the host, of a service's bind mounts."""
    volumes = [each for each in SERVICES[name]["volumes"] if isinstance(each, dict)]
    return {each["target"]: each["source"] for each in volumes if each["type"] == "bind"}


def environment(name: str) -> dict[str, str]:
    """A service's environment."""
    found: dict[str, str] = SERVICES[name].get("environment", {})
    return found


def milliseconds(text: str) -> int:
    """A duration like `20s`."""
    assert text.endswith("s")
    return int(text[:-1]) * 1_000


def test_it_is_what_the_compose_specification_s_schema_allows():
    checker = program("check-jsonschema", "pip install check-jsonschema")
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", str(FILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_no_more_than_it_must(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] or name == "kafka"
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["logging"]["options"]["max-size"]  # a full disk is nobody's friend
    assert {"privileged", "cap_add", "network_mode", "pid", "ipc"} & service.keys() == set()


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "ports" in service])
def test_ports_are_published_on_loopback_only(name):
    for port in SERVICES[name]["ports"]:
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "volumes" in service])
def test_what_is_mounted_of_the_checkout_is_there_and_cannot_be_written(name):
    for each in SERVICES[name]["volumes"]:
        if isinstance(each, str):
            assert each.partition(":")[0] in TREE["volumes"]
            continue
        assert each["read_only"]
        assert each["bind"] == {"create_host_path": False}  # else a missing file becomes an empty folder, root's
        own = OF_THE_USER.fullmatch(each["source"])
        if own:
            assert (COMPOSE / own["default"]).resolve().parent == ROOT / "demo-out"
        else:
            assert (COMPOSE / each["source"]).exists(), each["source"]


def test_what_the_demo_leaves_behind_is_what_is_mounted():
    names = {(COMPOSE / OF_THE_USER.fullmatch(source)["default"]).name for source in _of_the_user()}
    text = "".join(path.read_text() for path in (ROOT / "export" / "tickcast_export").glob("demo*.py"))
    assert names == {"bundle", "played.csv"}
    assert [name for name in names if f'file("{name}")' not in text] == []


def _of_the_user() -> list[str]:
    sources = [source for name in DAEMONS for source in mounts(name).values()]
    return [source for source in sources if OF_THE_USER.fullmatch(source)]


def test_images_are_pinned_and_ours_has_the_project_s_version():
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert {images.pop(name) for name in DAEMONS} == {f"tickcast:{__version__}"}
    assert [image for image in images.values() if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", image)] == []
    assert images["kafka"] == images["topics"] == f"apache/kafka:{kafka_jars.KAFKA_VERSION}"


@pytest.mark.parametrize("name", DAEMONS)
def test_ours_are_built_from_this_checkout_and_run_as_the_image_s_user(name):
    service = SERVICES[name]
    build = service["build"]
    assert (COMPOSE / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]) == IMAGE / "Dockerfile"
    stages = of_target(instructions(IMAGE / "Dockerfile"), build["target"])
    assert service["user"] == last(stages, "USER").arguments
    assert service["init"]


def test_the_daemon_finds_its_configuration_where_the_image_looks_for_it():
    stages = of_target(instructions(IMAGE / "Dockerfile"), "cpu")
    assert last(stages, "CMD").words()[-1] in mounts("tickcast")
    assert mounts("tickcast")["/etc/tickcast/tickcast.toml"] == "./tickcast.toml"
    assert [str(model.bundle) for model in CONFIG.models] == ["/var/lib/tickcast/bundle"]
    assert "/var/lib/tickcast/bundle" in mounts("tickcast")
    assert CONFIG.inference.provider == "cpu"


def test_the_daemon_is_reached_from_other_containers_and_its_port_is_the_published_one():
    assert CONFIG.http.host == "0.0.0.0"
    assert SERVICES["tickcast"]["ports"] == [f"127.0.0.1:{CONFIG.http.port}:{CONFIG.http.port}"]


def test_the_daemon_has_time_to_drain():
    assert milliseconds(SERVICES["tickcast"]["stop_grace_period"]) > CONFIG.recovery.drain_timeout_ms


def test_nothing_in_the_environment_is_a_setting_that_there_is_not():
    for name in DAEMONS:
        configuration.load(COMPOSE / "tickcast.toml", environment(name))


def test_the_broker_is_asked_where_it_listens_and_by_a_name_it_has():
    kafka = environment("kafka")
    listeners = dict(each.split("://") for each in kafka["KAFKA_LISTENERS"].split(","))
    advertised = dict(each.split("://") for each in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["CONTAINERS"] == CONFIG.kafka.bootstrap_servers
    assert advertised["CONTAINERS"].endswith(listeners["CONTAINERS"])
    assert SERVICES["kafka"]["ports"] == [f"127.0.0.1{listeners['MACHINE']}{listeners['MACHINE']}"]
    assert advertised["MACHINE"] == f"127.0.0.1{listeners['MACHINE']}"
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"].endswith(listeners["CONTROLLER"])
    assert f":{SERVICES['kafka']['healthcheck']['test'][-1]}" == listeners["CONTAINERS"]
    assert kafka["KAFKA_LOG_DIRS"] in [str(volume).partition(":")[2] for volume in SERVICES["kafka"]["volumes"]]


def test_the_broker_is_set_up_like_the_one_that_the_tests_run():
    """Its settings are checked by a real Kafka of the same version, under their own names."""
    given = {
        name.removeprefix("KAFKA_").replace("_", ".").lower(): value for name, value in environment("kafka").items()
    }
    for name in set(SETTINGS) & set(given) - {"listener.security.protocol.map", "inter.broker.listener.name"}:
        assert given[name] == SETTINGS[name], name
    alike = {name for name in SETTINGS if name.endswith(("replication.factor", "min.isr", "enable"))}
    assert alike <= given.keys()


def test_the_topics_that_are_made_are_those_of_the_configuration():
    (script,) = SERVICES["topics"]["command"]
    made = dict(re.findall(r"--topic ([\w-]+) --partitions (\d+)", script))
    kafka = CONFIG.kafka
    assert made.keys() == {*kafka.input_topics, kafka.output_topic, kafka.dead_letter_topic, CONFIG.state_topic}
    assert made["forecasts-state"] == made["ticks"]
    assert all(f"--config {key}={value}" in script for key, value in state_topic.SETTINGS.items())
    assert CONFIG.kafka.bootstrap_servers in script
    command = SERVICES["ticks"]["command"]
    assert command[command.index("--topic") + 1] in CONFIG.kafka.input_topics


def test_each_service_waits_for_what_it_needs():
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert needs["topics"]["kafka"]["condition"] == "service_healthy"
    assert needs["tickcast"]["topics"]["condition"] == "service_completed_successfully"
    for name, needed in needs.items():
        for other, how in needed.items():
            has_check = "healthcheck" in SERVICES[other] or other in DAEMONS  # ours brings its own
            assert how["condition"] != "service_healthy" or has_check, f"{name}: {other}"


def test_prometheus_asks_the_daemon_and_finds_the_rules():
    asked = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in asked["scrape_configs"]}
    assert jobs == {"tickcast": [f"tickcast:{CONFIG.http.port}"]}
    beside = {Path(target).name for target in mounts("prometheus")}
    assert set(asked["rule_files"]) <= beside
    example = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert asked["rule_files"] == example["rule_files"]


def test_grafana_finds_prometheus_and_the_dashboard():
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "tickcast.yml").read_text())["datasources"][0]
    assert source["url"] == "$TICKCAST_PROMETHEUS_URL"
    assert environment("grafana")["TICKCAST_PROMETHEUS_URL"] == "http://prometheus:9090"
    folder = yaml.safe_load((provisioning / "dashboards" / "tickcast.yml").read_text())["providers"][0]["options"][
        "path"
    ]
    assert mounts("grafana")[f"{folder}/tickcast.json"] == "../grafana/tickcast.json"
