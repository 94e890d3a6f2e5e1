"""The manifests as kustomize renders them: against the schemas of Kubernetes, and of the operators that some are for,
and against what else the project says.
"""

import copy
import functools
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployments import GO_MODULES, IMAGE, KUBERNETES, instructions, last, of_target, pod_of, program
from tickcast import __version__
from tickcast import config as configuration
from tickcast.config import Config

yaml = pytest.importorskip("yaml", reason="pip install pyyaml")

KUSTOMIZE = "go install sigs.k8s.io/kustomize/kustomize/v5@v5.8.2"
# The oldest Kubernetes that has image volumes switched on, and the newest that the validator knows.
VERSIONS = ("1.35", "1.37")
# What Kubernetes does not know by itself; module, version, and where in it the definition lies.
KEDA = ("github.com/kedacore/keda/v2", "v2.21.0")
OPERATOR = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
DEFINITIONS = {
    "ScaledObject": (*KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "TriggerAuthentication": (*KEDA, "config/crd/bases/keda.sh_triggerauthentications.yaml"),
    "PodMonitor": (*OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"),
}
NAMES = ("base", "overlays/cpu", "overlays/gpu", "claim")
WHOLE = ("overlays/cpu", "overlays/gpu")
# https://kubernetes.io/docs/concepts/security/pod-security-standards/, profile `restricted`.
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim"}
RESTRICTED_VOLUMES |= {"projected", "secret"}

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`rendered(name)`: the manifests by kind, of a folder of deploy/kubernetes; of `claim`, the base with a volume."""
    claim = tmp_path_factory.mktemp("claim")

    @functools.cache
    def render(name: str) -> dict[str, Manifest]:
        kustomize = program("kustomize", KUSTOMIZE)
        folder = claim if name == "claim" else KUBERNETES / name
        if name == "claim":
            parts = {"resources": [KUBERNETES / "base"], "components": [KUBERNETES / "components" / "bundle-claim"]}
            listed = {key: [os.path.relpath(path, claim) for path in paths] for key, paths in parts.items()}
            (claim / "kustomization.yaml").write_text(yaml.safe_dump(listed))
        done = subprocess.run([kustomize, "build", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # nothing deprecated
        manifests = list(yaml.safe_load_all(done.stdout))
        by_kind = {each["kind"]: each for each in manifests}
        assert len(by_kind) == len(manifests)
        return by_kind

    return render


def container(manifests: dict[str, Manifest]) -> Manifest:
    """The daemon's container."""
    (only,) = pod_of(manifests["StatefulSet"])["containers"]
    return dict(only)


def pod_environment(manifests: dict[str, Manifest]) -> dict[str, str]:
    """What the first pod's daemon finds in its environment."""
    values = {"metadata.name": "tickcast-0", "username": "desk"}
    found = {}
    for each in container(manifests)["env"]:
        source = each.get("valueFrom", {})
        reference = source.get("fieldRef", {}).get("fieldPath") or source.get("secretKeyRef", {}).get("key")
        found[each["name"]] = each["value"] if reference is None else values[reference]
    return found


def config_of(manifests: dict[str, Manifest], folder: Path) -> Config:
    """The configuration as the first pod's daemon reads it."""
    file = folder / "tickcast.toml"
    file.write_text(manifests["ConfigMap"]["data"]["tickcast.toml"])
    return configuration.load(file, pod_environment(manifests))


# -- schemas


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_kubernetes_takes_it(rendered, name, version):
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for kind, manifest in rendered(name).items():
        if kind not in DEFINITIONS:
            validator.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_noticed(rendered):
    validator = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    manifest = copy.deepcopy(rendered("base")["StatefulSet"])
    pod_of(manifest)["terminationGraceSeconds"] = 30
    with pytest.raises(validator.ValidationError):
        validator.validate(manifest, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("kind", DEFINITIONS)
@pytest.mark.parametrize("name", WHOLE)
def test_the_operator_that_a_kind_is_for_takes_it(rendered, name, kind):
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    jsonschema.Draft202012Validator(definition(kind)).validate(rendered(name)[kind])


def test_a_field_that_an_operator_does_not_know_is_noticed(rendered):
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    manifest = copy.deepcopy(rendered("overlays/cpu")["ScaledObject"])
    manifest["spec"]["maxReplicas"] = 12
    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        jsonschema.Draft202012Validator(definition("ScaledObject")).validate(manifest)


def definition(kind: str) -> dict[str, Any]:
    """The schema of a kind that Kubernetes does not know, from the Go module that does; nothing else is allowed."""
    module, version, path = DEFINITIONS[kind]
    folder = GO_MODULES / f"{module}@{version}"
    if not folder.is_dir():
        pytest.skip(f"{module} is not here: go mod download {module}@{version}")
    (served,) = yaml.safe_load((folder / path).read_text())["spec"]["versions"]
    schema: dict[str, Any] = closed(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def closed(schema: Any) -> Any:
    """The same schema, in which an object has no properties but those that are named: an unknown one is a mistake."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    is_open = out.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in out
    if isinstance(out.get("properties"), dict) and out.get("type") == "object" and not is_open:
        out["additionalProperties"] = False
    return out


# -- the pod


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_keeps_to_the_restricted_profile_and_to_a_read_only_file_system(rendered, name):
    pod = pod_of(rendered(name)["StatefulSet"])
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys() == set()
    assert not pod["automountServiceAccountToken"]
    for each in pod["containers"]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    kinds = {next(key for key in volume if key != "name") for volume in pod["volumes"]}
    assert kinds <= RESTRICTED_VOLUMES


@pytest.mark.parametrize(("name", "target"), [("overlays/cpu", "cpu"), ("overlays/gpu", "cuda")])
def test_image_and_user_are_the_dockerfile_s(rendered, name, target):
    manifests = rendered(name)
    stages = of_target(instructions(IMAGE / "Dockerfile"), target)
    user, group = map(int, last(stages, "USER").arguments.split(":"))
    context = pod_of(manifests["StatefulSet"])["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
    suffix = {"cpu": "", "cuda": "-cuda"}[target]
    assert container(manifests)["image"] == f"tickcast:{__version__}{suffix}"


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_is_where_the_image_looks_for_it_and_all_it_names_is_mounted(rendered, name, tmp_path):
    manifests = rendered(name)
    file = Path(last(of_target(instructions(IMAGE / "Dockerfile"), "cpu"), "CMD").words()[-1])
    assert list(manifests["ConfigMap"]["data"]) == [file.name]
    mounts = {each["mountPath"]: each["name"] for each in container(manifests)["volumeMounts"]}
    volumes = {each["name"]: each for each in pod_of(manifests["StatefulSet"])["volumes"]}
    assert set(mounts.values()) == volumes.keys()
    assert volumes[mounts[str(file.parent)]]["configMap"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
    config = config_of(manifests, tmp_path)
    (bundle,) = {model.bundle for model in config.models}
    assert {str(bundle), str(bundle.parent)} & mounts.keys()
    credentials = volumes[mounts["/run/secrets/tickcast"]]["secret"]
    files = {f"/run/secrets/tickcast/{each['path']}" for each in credentials["items"]}
    assert {config.kafka.security.ca_file, config.kafka.security.password_file} == files
    assert all(each.get("readOnly") for each in container(manifests)["volumeMounts"])


@pytest.mark.parametrize("name", NAMES)
def test_the_password_s_file_is_one_that_the_daemon_accepts(rendered, name):
    """Kubernetes makes it root's, of the pod's group; what others may read is refused."""
    (secret,) = [each["secret"] for each in pod_of(rendered(name)["StatefulSet"])["volumes"] if "secret" in each]
    assert secret["defaultMode"] & stat.S_IRWXO == 0
    assert secret["defaultMode"] & stat.S_IRGRP


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_is_a_static_member_by_its_own_name(rendered, name, tmp_path):
    manifests = rendered(name)
    (variable,) = [each for each in container(manifests)["env"] if each["name"] == "TICKCAST_KAFKA__INSTANCE_ID"]
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert config_of(manifests, tmp_path).instance_id == "tickcast-0"


def test_a_daemon_on_a_gpu_starts_on_nothing_else(rendered, tmp_path):
    on_gpu, on_cpu = rendered("overlays/gpu"), rendered("overlays/cpu")
    assert config_of(on_gpu, tmp_path).inference.provider == "cuda"
    assert config_of(on_cpu, tmp_path).inference.provider == "cpu"
    for side in ("requests", "limits"):
        assert container(on_gpu)["resources"][side]["nvidia.com/gpu"] == "1"
        assert "nvidia.com/gpu" not in container(on_cpu)["resources"][side]
    pod = pod_of(on_gpu["StatefulSet"])
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]


@pytest.mark.parametrize("name", NAMES)
def test_probes_ask_for_what_is_served_on_the_port_that_is_listened_on(rendered, name, tmp_path):
    manifests = rendered(name)
    config = config_of(manifests, tmp_path)
    assert config.http.host == "0.0.0.0"
    assert container(manifests)["ports"] == [{"name": "http", "containerPort": config.http.port}]
    (port,) = manifests["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (config.http.port, "http")
    asked = {kind: container(manifests)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/readyz",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in asked.values()} == {"http"}


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_has_time_to_drain_and_a_hanging_one_is_restarted(rendered, name, tmp_path):
    manifests = rendered(name)
    config = config_of(manifests, tmp_path)
    grace_s = pod_of(manifests["StatefulSet"])["terminationGracePeriodSeconds"]
    assert grace_s * 1_000 >= config.recovery.drain_timeout_ms + 5_000
    liveness = container(manifests)["livenessProbe"]
    noticed_s = config.http.live_timeout_ms / 1_000 + liveness["periodSeconds"] * liveness["failureThreshold"]
    assert noticed_s < config.health.hang_timeout_s


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_asks_for_whole_processors_and_for_as_much_as_it_may_use(rendered, name, tmp_path):
    resources = container(rendered(name))["resources"]
    assert resources["requests"] == resources["limits"]
    assert int(resources["limits"]["cpu"]) > config_of(rendered(name), tmp_path).inference.threads


# -- around the pod


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_selects_pods_selects_these(rendered, name):
    manifests = rendered(name)
    pods = manifests["StatefulSet"]
    labels = pods["spec"]["template"]["metadata"]["labels"]
    spec = {kind: manifest["spec"] for kind, manifest in manifests.items() if "spec" in manifest}
    selectors = [
        spec["StatefulSet"]["selector"]["matchLabels"],
        spec["Service"]["selector"],
        spec["PodDisruptionBudget"]["selector"]["matchLabels"],
        spec["NetworkPolicy"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in pod_of(pods)["topologySpreadConstraints"]),
        *([spec["PodMonitor"]["selector"]["matchLabels"]] if "PodMonitor" in spec else []),
    ]
    assert [selector for selector in selectors if not selector or not selector.items() <= labels.items()] == []
    assert spec["StatefulSet"]["serviceName"] == manifests["Service"]["metadata"]["name"]


@pytest.mark.parametrize("name", NAMES)
def test_one_pod_at_a_time_is_taken_away(rendered, name):
    manifests = rendered(name)
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    spec = manifests["StatefulSet"]["spec"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize("name", NAMES)
def test_the_network_lets_through_what_the_daemon_needs(rendered, name, tmp_path):
    manifests = rendered(name)
    policy = manifests["NetworkPolicy"]["spec"]
    allowed = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    brokers = config_of(manifests, tmp_path).kafka.bootstrap_servers.split(",")
    assert {int(broker.rpartition(":")[2]) for broker in brokers} | {53} == allowed
    (ingress,) = policy["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert ingress["from"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]


@pytest.mark.parametrize("name", WHOLE)
def test_prometheus_reads_the_metrics_of_every_pod_under_one_job(rendered, name):
    manifests = rendered(name)
    spec = manifests["PodMonitor"]["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container(manifests)["ports"]}
    assert endpoint["path"] == "/metrics"
    job = manifests["StatefulSet"]["spec"]["template"]["metadata"]["labels"][spec["jobLabel"]]
    assert job.startswith("tickcast")  # as the rules and alerts look for it


@pytest.mark.parametrize("name", WHOLE)
def test_everything_of_a_whole_deployment_is_in_its_namespace_which_keeps_to_the_restricted_profile(rendered, name):
    manifests = dict(rendered(name))
    namespace = manifests.pop("Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"]["namespace"] for each in manifests.values()} == {namespace["name"]}


# -- scaling


@pytest.mark.parametrize("name", WHOLE)
def test_the_lag_that_pods_are_scaled_by_is_the_daemon_s_own(rendered, name, tmp_path):
    manifests = rendered(name)
    kafka = config_of(manifests, tmp_path).kafka
    (trigger,) = manifests["ScaledObject"]["spec"]["triggers"]
    asked = trigger["metadata"]
    assert asked["bootstrapServers"] == kafka.bootstrap_servers
    assert asked["consumerGroup"] == kafka.group_id
    assert (asked["topic"],) == kafka.input_topics
    assert asked["offsetResetPolicy"] == kafka.start
    assert asked["sasl"] == kafka.security.mechanism.lower().replace("-sha-", "_sha")
    assert (asked["tls"] == "enable") == kafka.security.encrypted
    assert trigger["authenticationRef"]["name"] == manifests["TriggerAuthentication"]["metadata"]["name"]
    assert all(isinstance(value, str) for value in asked.values())  # as KEDA wants them


@pytest.mark.parametrize("name", WHOLE)
def test_no_pod_is_added_that_would_have_no_partition(rendered, name):
    spec = rendered(name)["ScaledObject"]["spec"]
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["allowIdleConsumers"] == "false"
    assert trigger["metadata"]["limitToPartitionsWithLag"] == "true"
    assert 0 < spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]


@pytest.mark.parametrize("name", WHOLE)
def test_keda_alone_says_how_many_pods_there_are(rendered, name):
    manifests = rendered(name)
    stateful_set = manifests["StatefulSet"]
    assert "replicas" not in stateful_set["spec"]
    assert rendered("base")["StatefulSet"]["spec"]["replicas"] >= 2
    target = manifests["ScaledObject"]["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": stateful_set["apiVersion"],
        "kind": "StatefulSet",
        "name": stateful_set["metadata"]["name"],
    }


@pytest.mark.parametrize("name", WHOLE)
def test_whoever_needs_the_secret_names_it_and_its_keys_alike(rendered, name):
    manifests = rendered(name)
    (mounted,) = [each["secret"] for each in pod_of(manifests["StatefulSet"])["volumes"] if "secret" in each]
    references = {(mounted["secretName"], item["key"]) for item in mounted["items"]}
    references |= {
        (each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"])
        for each in container(manifests)["env"]
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    authentication = manifests["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert {(each["name"], each["key"]) for each in authentication} == references
    assert references == {("tickcast-kafka", key) for key in ("username", "password", "ca.crt")}


# -- changing bundles


def test_a_changed_configuration_is_another_config_map(rendered, tmp_path):
    name = rendered("base")["ConfigMap"]["metadata"]["name"]
    assert re.fullmatch(r"tickcast-[a-z0-9]{10}", name)
    assert rendered("base")["ConfigMap"]["immutable"]


def test_a_bundle_is_an_image_of_its_own_with_a_tag(rendered):
    (bundle,) = [each["image"] for each in pod_of(rendered("base")["StatefulSet"])["volumes"] if "image" in each]
    assert re.fullmatch(r"tickcast-bundle:\w[\w.]*", bundle["reference"])


def test_a_bundle_on_a_claim_is_watched_and_no_image_is_left(rendered, tmp_path):
    manifests = rendered("claim")
    volumes = pod_of(manifests["StatefulSet"])["volumes"]
    assert [each for each in volumes if "image" in each] == []
    (claim,) = [each["persistentVolumeClaim"] for each in volumes if "persistentVolumeClaim" in each]
    assert claim["readOnly"]
    (model,) = config_of(manifests, tmp_path).models
    assert model.watch_interval_ms > 0


def test_every_component_and_overlay_is_rendered_here():
    folders = {str(path.parent.relative_to(KUBERNETES)) for path in KUBERNETES.rglob("kustomization.yaml")}
    overlays = {name for name in folders if not name.startswith("components/")}
    assert overlays == set(NAMES) - {"claim"}
    used = set(_components(KUBERNETES / "overlays" / "cpu")) | {"bundle-claim"}
    assert {f"components/{name}" for name in used} == folders - overlays


def _components(folder: Path) -> Iterator[str]:
    for path in yaml.safe_load((folder / "kustomization.yaml").read_text())["components"]:
        yield Path(path).name


def test_the_configuration_in_the_base_is_toml_without_a_secret():
    text = (KUBERNETES / "base" / "tickcast.toml").read_text()
    assert tomllib.loads(text)["kafka"]["security"].keys() == {"protocol", "mechanism", "ca_file", "password_file"}
