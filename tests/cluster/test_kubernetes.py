"""The Kubernetes manifests, against the schemas that the operator and the client library ship."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "kubernetes"
MANIFESTS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
PACKAGES = ("dask-kubernetes==2026.3.0", "kubernetes==35.0.0")
CUSTOM = "kubernetes.dask.org/v1"
# Fields and types of the client library's models, as it keeps them; printed as JSON.
MODELS = """
import json, kubernetes.client as client
models = {name: kind for name, kind in vars(client).items() if hasattr(kind, "openapi_types")}
print(json.dumps({
    name: {kind.attribute_map[key]: text for key, text in kind.openapi_types.items()}
    for name, kind in models.items()
}))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The packages that hold the schemas, installed apart."""
    folder = tmp_path_factory.mktemp("packages")
    operator, library = PACKAGES
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder)]
    subprocess.run([*pip, "--no-deps", operator], check=True)
    subprocess.run([*pip, library], check=True)
    return folder


@pytest.fixture(scope="module")
def custom_schemas(packages):
    """By kind, the schemas of the operator's own resources, with unknown fields refused."""
    crds = packages.glob("dask_kubernetes/operator/deployment/helm/*/crds/*.yaml")
    schemas = {}
    for crd in (yaml.safe_load(path.read_text())["spec"] for path in crds):
        schema = crd["versions"][0]["schema"]["openAPIV3Schema"]
        schemas[crd["names"]["kind"]] = closed(schema)
    return schemas


@pytest.fixture(scope="module")
def models(packages):
    line = [sys.executable, "-c", MODELS]
    environment = {"PYTHONPATH": str(packages), "PATH": ""}
    return json.loads(subprocess.run(line, env=environment, capture_output=True, check=True).stdout)


def closed(schema):
    """The schema with no room for fields that it doesn't name, as strict validation has it."""
    schema = copy.copy(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        schema["properties"] = {key: closed(each) for key, each in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        schema["items"] = closed(schema["items"])
    return schema


def misfits(value, kind, models, where=""):
    """What in a value is not of a model's kind: a line each."""
    if kind.startswith("list["):
        return [
            line
            for n, each in enumerate(value)
            for line in misfits(each, kind[5:-1], models, f"{where}[{n}]")
        ]
    if kind.startswith("dict("):
        return [] if isinstance(value, dict) else [f"{where}: no mapping"]
    if kind not in models:
        plain = {"str": str, "int": int, "bool": bool}.get(kind, object)
        return [] if isinstance(value, plain) else [f"{where}: no {kind}"]
    lines = [f"{where}.{name}: unknown" for name in value if name not in models[kind]]
    for name in value.keys() & models[kind].keys():
        lines += misfits(value[name], models[kind][name], models, f"{where}.{name}")
    return lines


def valid_custom(manifest, schemas):
    schema = schemas[manifest["kind"]]
    body = {
        key: each for key, each in manifest.items() if key not in ("apiVersion", "kind", "metadata")
    }
    jsonschema.validate(body, schema)


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_what_the_cluster_takes(name, custom_schemas, models):
    manifest = MANIFESTS[name]
    if manifest["apiVersion"] == CUSTOM:
        valid_custom(manifest, custom_schemas)
    else:
        assert misfits(manifest, f"V1{manifest['kind']}", models) == []


@pytest.mark.slow
def test_a_misspelt_field_is_found(custom_schemas, models):
    wrong = copy.deepcopy(MANIFESTS["cluster.yaml"])
    container = wrong["spec"]["worker"]["spec"]["containers"][0]
    container["volumeMount"] = container.pop("volumeMounts")
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        valid_custom(wrong, custom_schemas)
    job = copy.deepcopy(MANIFESTS["train.yaml"])
    job["spec"]["template"]["spec"]["container"] = []
    job["spec"]["backoffLimit"] = "20"
    found = sorted(misfits(job, "V1Job", models))
    assert found == [".spec.backoffLimit: no int", ".spec.template.spec.container: unknown"]


def pods():
    """Every pod's specification, by the manifest and the part it is of."""
    for name, manifest in MANIFESTS.items():
        spec = manifest["spec"]
        for part in ("scheduler", "worker", "template"):
            if part in spec:
                yield f"{name}:{part}", spec[part]["spec"]


@pytest.mark.parametrize(
    ("name", "pod"), list(pods()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_pods_agree_with_each_other(name, pod):
    claims = [
        v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "emptyDir" not in v
    ]
    assert claims == [MANIFESTS["storage.yaml"]["metadata"]["name"]]
    (container,) = pod["containers"]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}
    assert container["image"].startswith("registry.example/yfccdask:0.1.0")


def test_only_the_cluster_s_own_pods_reach_it():
    cluster, policy, job = (MANIFESTS[f"{name}.yaml"] for name in ("cluster", "network", "train"))
    own = {"dask.org/cluster-name": cluster["metadata"]["name"]}
    assert policy["spec"]["podSelector"]["matchLabels"] == own
    assert cluster["spec"]["scheduler"]["service"]["type"] == "ClusterIP"
    assert cluster["spec"]["scheduler"]["service"]["selector"].items() >= own.items()
    labels = [each["podSelector"]["matchLabels"] for each in policy["spec"]["ingress"][0]["from"]]
    assert labels == [own, job["spec"]["template"]["metadata"]["labels"]]
    assert MANIFESTS["gpu-workers.yaml"]["spec"]["cluster"] == cluster["metadata"]["name"]
    address = job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]
    assert address == f"tcp://{cluster['metadata']['name']}-scheduler:8786"
