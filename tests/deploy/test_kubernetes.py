"""The Kubernetes manifests are hardened, and consistent with each other and with the Prometheus rules."""

import runpy
from typing import Any

import pytest
import yaml

from tests.deploy.deployment_files import MANIFESTS, REPOSITORY, containers, image_variables, manifest, manifests, pods

CONTAINERS = [pytest.param(container, id=f"{owner}-{container['name']}") for owner, container in containers()]
DEPLOYMENTS = ("mlmon-web", "mlmon-worker", "mlmon-beat")


def test_every_manifest_is_applied() -> None:
    named = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert sorted(named) == sorted(path.name for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml")


def test_no_manifest_is_a_secret() -> None:
    assert "Secret" not in {item["kind"] for item in manifests()}


@pytest.mark.parametrize("name", sorted(pods()))
def test_each_pod_runs_as_the_user_of_the_image(name: str) -> None:
    context = pods()[name]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    user = f"{context['runAsUser']}:{context['runAsGroup']}"
    assert f"\nUSER {user}\n" in (REPOSITORY / "Dockerfile").read_text()
    assert pods()[name]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("container", CONTAINERS)
def test_each_container_is_hardened_and_has_limits(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert container["image"] == "mlmon:0.1.0"


@pytest.mark.parametrize("container", CONTAINERS)
def test_each_container_has_the_writable_folders_of_the_image(container: dict[str, Any]) -> None:
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    image = image_variables()
    assert {image["MLMON_MEDIA_ROOT"], image["TMPDIR"], image["MLMON_METRICS_DIR"].rpartition("/")[0]} <= mounted


@pytest.mark.parametrize("name", sorted(pods()))
def test_each_mount_has_a_volume(name: str) -> None:
    volumes = {volume["name"] for volume in pods()[name]["volumes"]}
    for owner, container in containers():
        if owner == name:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_new_code_waits_for_the_migrations(name: str) -> None:
    (wait,) = pods()[name]["initContainers"]
    assert "migrate --check" in wait["command"][-1]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_deployment_selects_its_pods(name: str) -> None:
    specification = manifest("Deployment", name)["spec"]
    assert specification["selector"]["matchLabels"] == specification["template"]["metadata"]["labels"]
    assert pods()[name]["containers"][0]["livenessProbe"]


def test_the_web_server_has_probes_for_its_health() -> None:
    (web,) = pods()["mlmon-web"]["containers"]
    paths = {name: web[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/readyz", "livenessProbe": "/healthz", "readinessProbe": "/healthz"}
    (host,) = {web[name]["httpGet"]["httpHeaders"][0]["value"] for name in paths}
    assert host in manifest("ConfigMap", "mlmon")["data"]["MLMON_ALLOWED_HOSTS"].split(",")


def test_the_services_use_the_ports_of_the_web_server() -> None:
    (web,) = pods()["mlmon-web"]["containers"]
    ports = {port["name"]: str(port["containerPort"]) for port in web["ports"]}
    options = dict(zip(web["command"][3::2], web["command"][4::2], strict=True))
    assert ports == {"http": options["--port"], "metrics": options["--scrape-port"]}
    labels = manifest("Deployment", "mlmon-web")["spec"]["template"]["metadata"]["labels"]
    for name, port in {"mlmon-web": "http", "mlmon-metrics": "metrics"}.items():
        service = manifest("Service", name)["spec"]
        assert service["selector"] == labels
        assert [item["targetPort"] for item in service["ports"]] == [port]


def test_the_web_server_scales_and_beat_does_not() -> None:
    scaled = manifest("HorizontalPodAutoscaler", "mlmon-web")["spec"]
    assert scaled["scaleTargetRef"]["name"] == "mlmon-web"
    assert scaled["minReplicas"] >= 2
    assert "replicas" not in manifest("Deployment", "mlmon-web")["spec"]
    assert manifest("PodDisruptionBudget", "mlmon-web")["spec"]["minAvailable"] == 1
    beat = manifest("Deployment", "mlmon-beat")["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


def test_only_prometheus_reaches_the_scrape_port() -> None:
    rules = manifest("NetworkPolicy", "mlmon-web")["spec"]["ingress"]
    (scrapes,) = (rule for rule in rules if {"port": "metrics"} in rule["ports"])
    (source,) = scrapes["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert scrapes["ports"] == [{"port": "metrics"}]


def test_the_service_monitor_selects_the_service_and_its_job() -> None:
    monitor = manifest("ServiceMonitor", "mlmon")["spec"]
    service = manifest("Service", "mlmon-metrics")
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    configuration = yaml.safe_load((REPOSITORY / "monitoring" / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in configuration["scrape_configs"]}
    assert service["metadata"]["labels"][monitor["jobLabel"]] in jobs


def test_the_rules_are_the_rules_of_prometheus() -> None:
    files = sorted((REPOSITORY / "monitoring" / "prometheus" / "rules").glob("*.yml"))
    assert files
    for path in files:
        assert manifest("PrometheusRule", f"mlmon-{path.stem}")["spec"] == yaml.safe_load(path.read_text())


def test_the_script_writes_the_file_of_rules() -> None:
    script = runpy.run_path(str(REPOSITORY / "deploy" / "kubernetes" / "write_prometheus_rules.py"))
    assert script["prometheus_rules"]() == (MANIFESTS / "prometheus-rules.yaml").read_text()
