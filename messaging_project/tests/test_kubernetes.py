"""docs/ops/kubernetes, held to docker-compose.yml and to the code: commands, settings, probes and times."""

from pathlib import Path

import yaml
from django.conf import settings
from django.urls import resolve

from messaging_project.celery import QUEUES
from messaging_project.compose.file import read
from messaging_project.local.settings_file import setting_names
from messaging_project.tests.test_wiring import REQUIRED

ROOT = Path(settings.BASE_DIR)
OBJECTS = [
    each
    for file in sorted((ROOT / "docs/ops/kubernetes").glob("*.yaml"))
    for each in yaml.safe_load_all(file.read_text())
]
SERVICES = read(ROOT / "docker-compose.yml", dict.fromkeys(REQUIRED, "given"), dotenv={})


def of_kind(kind):
    return {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == kind}


DEPLOYMENTS = of_kind("Deployment")
PODS = {
    each["metadata"]["name"].removeprefix("switchboard-"): each["spec"]["template"]["spec"]
    for each in OBJECTS
    if each["kind"] in ("Deployment", "Job")
}
CONTAINERS = {name: pod["containers"][0] for name, pod in PODS.items()}


def probes_of(name):
    return [probe for key, probe in CONTAINERS[name].items() if key.endswith("Probe")]


def test_every_service_of_compose_runs_there_with_the_same_command():
    commands = {name: tuple(container.get("args", ())) for name, container in CONTAINERS.items()}
    assert commands == {name: each.command for name, each in SERVICES.items() if each.image == "switchboard:latest"}


def test_every_queue_has_a_deployment_of_its_own():
    queues = [
        args[args.index("-Q") + 1] for args in (each.get("args", []) for each in CONTAINERS.values()) if "-Q" in args
    ]
    assert sorted(queues) == sorted(QUEUES)


def test_beat_is_never_there_twice():
    beat = DEPLOYMENTS["switchboard-beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


def test_web_is_asked_for_paths_that_it_has_under_a_host_that_it_serves():
    assert probes_of("web")
    for probe in probes_of("web"):
        assert resolve(probe["httpGet"]["path"])
        assert {"name": "Host", "value": "127.0.0.1"} in probe["httpGet"]["httpHeaders"]


def test_prometheus_can_ask_each_web_pod_by_its_address():
    told = {each["name"]: each for each in CONTAINERS["web"]["env"]}
    assert told["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert "$(POD_IP)" in told["ALLOWED_HOSTS"]["value"].split(",")


def test_flower_is_asked_for_its_health_as_its_container_in_compose_is():
    (probe,) = probes_of("flower")
    assert probe["httpGet"]["path"] in SERVICES["flower"].health.command[-1]


def test_nothing_is_restarted_because_the_database_or_the_broker_is_away():
    asked = {
        name: {container[key]["httpGet"]["path"] for key in ("startupProbe", "livenessProbe") if key in container}
        for name, container in CONTAINERS.items()
    }
    assert {name: paths for name, paths in asked.items() if paths} == {
        "web": {"/startup", "/live"},
        "flower": {"/flower/healthcheck"},
    }


def test_a_pod_has_as_long_to_end_as_its_container_in_compose_has():
    for name, pod in PODS.items():
        assert pod.get("terminationGracePeriodSeconds", 30) >= SERVICES[name].stop_seconds, name


def test_every_setting_there_is_one():
    given = set().union(
        *(each.get("data") or each.get("stringData") for each in OBJECTS if each["kind"] in ("ConfigMap", "Secret"))
    )
    assert given - {"FLOWER_BASIC_AUTH"} <= setting_names(ROOT / ".env.example")
    assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "PUBLIC_URL"} <= given


def test_what_names_another_object_names_one_that_is_there():
    labels = {each["spec"]["template"]["metadata"]["labels"]["app"] for each in DEPLOYMENTS.values()}
    selected = [
        each["spec"]["selector"]
        for kind in ("Deployment", "Service", "PodDisruptionBudget")
        for each in of_kind(kind).values()
    ]
    assert {(each.get("matchLabels") or each)["app"] for each in selected} == labels
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind("ScaledObject").values()}
    assert scaled == {name for name in DEPLOYMENTS if name.startswith("switchboard-worker-")}
    known = {kind: set(of_kind(kind)) for kind in ("ConfigMap", "Secret")}
    for container in CONTAINERS.values():
        for source in container["envFrom"]:
            assert source.get("configMapRef", {"name": "switchboard"})["name"] in known["ConfigMap"]
            assert source.get("secretRef", {"name": "switchboard"})["name"] in known["Secret"]
