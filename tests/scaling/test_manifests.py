"""The files for clusters are what their readers accept: Kubernetes' published schemas, Ray's own, Compose's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "embeddings" / "kubernetes"
DOCUMENTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}")
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def manifest(kind: str) -> dict:
    return next(case.values[0] for case in DOCUMENTS if case.values[0]["kind"] == kind)


@pytest.mark.parametrize("document", [case for case in DOCUMENTS if case.values[0]["kind"] != "RayService"])
def test_a_manifest_is_valid_by_the_published_schema(document):
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(document, "1.31", strict=True)


def test_the_schema_check_can_fail():
    validate = pytest.importorskip("kubernetes_validate")
    broken = {**manifest("Deployment"), "spec": {**manifest("Deployment")["spec"], "replcas": 2}}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.31", strict=True)


def test_ray_accepts_the_serve_config_files_and_our_arguments():
    schema = pytest.importorskip("ray.serve.schema")
    from embedserve.scaling.options import ScaleOptions

    files = [(ROOT / "embeddings/ray/serve.yaml").read_text(), manifest("RayService")["spec"]["serveConfigV2"]]
    for text in files:
        config = schema.ServeDeploySchema.model_validate(yaml.safe_load(text))
        for application in config.applications:
            assert application.import_path == "embedserve.scaling.app:build"
            ScaleOptions.model_validate(application.args)


def test_the_pod_templates_inside_the_ray_service_are_valid_pods():
    validate = pytest.importorskip("kubernetes_validate")
    cluster = manifest("RayService")["spec"]["rayClusterConfig"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        validate.validate(pod, "1.31", strict=True)


def test_pods_have_time_to_drain_and_load_and_are_not_root():
    from embedserve.settings import Settings

    pod = manifest("Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    drain = Settings().drain_timeout
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > drain + wait
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 15 * 60
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["enableServiceLinks"]


def test_selectors_find_the_pods():
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Service")["spec"]["selector"].items() <= labels.items()
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_scaling_metric_is_one_that_the_server_exports():
    from embedserve import observability

    names = {name for name, _, _ in observability.samples()}
    assert manifest("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"] in names


@pytest.mark.docker
def test_compose_reads_the_cluster_file():
    path = ROOT / "qdrant" / "docker-compose.cluster.yml"
    done = subprocess.run(["docker-compose", "-f", str(path), "config"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == {"qdrant-1", "qdrant-2", "qdrant-3"}
