"""The job descriptions in deploy/: parameters, structure, and that the launch script takes the arguments in them."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from src.config import parse_command_line
from src.devices.launch_plan import parse_launch_options
from src.devices.launcher import STOP_SECONDS
from train import TrainOptions

ROOT = Path(__file__).resolve().parents[1]
FILES = {"gpu": "gpu-kubernetes.yaml", "ascend": "ascend-volcano.yaml"}
QUANTITY = re.compile(r"\d+(Mi|Gi|Ti)?")


def parameters() -> dict[str, str]:
    """Names and defaults, as a shell reads them."""
    file = ROOT / "deploy" / "parameters.env"
    names = re.findall(r"^([A-Z_]+)=", file.read_text(), re.M)
    show = "; ".join(f'printf "%s\\n" "${name}"' for name in names)
    values = subprocess.run(["bash", "-c", f". {file}; {show}"], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, values.splitlines(), strict=True))


def filled(file: str, **changes: str) -> list[dict]:
    """The documents of a file, filled in as envsubst does it."""
    values = parameters() | changes
    text = (ROOT / "deploy" / file).read_text()
    return list(yaml.safe_load_all(re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)))


def pod_template(kind: str, **changes: str) -> dict:
    *_, job = filled(FILES[kind], **changes)
    return job["spec"]["template"] if kind == "gpu" else job["spec"]["tasks"][0]["template"]


def test_every_parameter_is_explained_has_a_default_and_is_used():
    used = {
        name for file in FILES.values() for name in re.findall(r"\$\{(\w+)\}", (ROOT / "deploy" / file).read_text())
    }
    assert used | {"REPOSITORY"} == set(parameters())
    for line in (ROOT / "deploy" / "parameters.env").read_text().splitlines():
        assert not line or re.fullmatch(r"# .*|#|[A-Z_]+=\S+ +# .+", line), line


@pytest.mark.parametrize("kind", FILES)
def test_the_pod(kind):
    template = pod_template(kind, DEVICES="4")
    spec = template["spec"]
    (container,) = spec["containers"]
    assert spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] > STOP_SECONDS  # the launcher ends what hangs, not the kill
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/data", "/runs", "/dev/shm"}
    assert (ROOT / container["command"][1]).is_file()
    resource = {"gpu": "nvidia.com/gpu", "ascend": "huawei.com/Ascend910"}[kind]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert limits[resource] == "4" and requests.get(resource, "4") == "4"
    assert QUANTITY.fullmatch(limits["memory"]) and limits["memory"] == requests["memory"]


@pytest.mark.parametrize("kind", FILES)
def test_the_launch_script_takes_the_arguments(kind, monkeypatch):
    monkeypatch.chdir(ROOT)
    (container,) = pod_template(kind, NODES="3", DEVICES="4", JOB_NAME="job")["spec"]["containers"]
    argv = [re.sub(r"\$\((NODE_RANK|VC_TASK_INDEX)\)", "2", argument) for argument in container["args"]]
    options = parse_launch_options("script", argv, can_resume=True)
    assert (options.nnodes, options.node_rank, options.devices, options.master_port) == (3, 2, 4, 8118)
    assert options.master_addr == {"gpu": "job-0.job", "ascend": "job-host-0.job"}[kind]
    config, own, name, _ = parse_command_line("train.py", "", TrainOptions, options.arguments)
    assert config.device == {"gpu": "GPU", "ascend": "Ascend"}[kind]
    assert (config.data.root, config.output, name) == ("/data", "/runs", "tnt_s_patch16_224")
    assert own.resume == "auto" and not own.overwrite


def test_the_gpu_job_and_its_service():
    service, job = filled(FILES["gpu"], JOB_NAME="job", NODES="3")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert service["metadata"]["namespace"] == job["metadata"]["namespace"]
    spec, template = job["spec"], job["spec"]["template"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"] == 3
    assert template["spec"]["subdomain"] == service["metadata"]["name"]  # else job-0.job has no address
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    wrong_input, preempted = spec["podFailurePolicy"]["rules"]
    assert wrong_input["action"] == "FailJob" and wrong_input["onExitCodes"]["values"] == [2]
    assert wrong_input["onExitCodes"]["containerName"] == template["spec"]["containers"][0]["name"]
    assert preempted["action"] == "Ignore" and preempted["onPodConditions"][0]["type"] == "DisruptionTarget"
    (rank,) = template["spec"]["containers"][0]["env"]
    assert rank["name"] == "NODE_RANK"
    assert "job-completion-index" in rank["valueFrom"]["fieldRef"]["fieldPath"]


def test_the_ascend_job():
    (job,) = filled(FILES["ascend"], NODES="3")
    assert (job["apiVersion"], job["kind"]) == ("batch.volcano.sh/v1alpha1", "Job")
    spec = job["spec"]
    # fields of the Go types that Volcano publishes (batch/v1alpha1): an unknown one would be dropped silently
    assert set(spec) <= {"schedulerName", "queue", "minAvailable", "maxRetry", "plugins", "policies", "tasks"}
    assert set(spec["plugins"]) == {"svc", "env"}
    (task,) = spec["tasks"]
    assert task["name"] == "host" and task["replicas"] == spec["minAvailable"] == 3
    for policy in spec["policies"]:
        assert set(policy) in ({"event", "action"}, {"exitCode", "action"})
    assert spec["policies"][0] == {"exitCode": 2, "action": "TerminateJob"}  # before PodFailed, which fits it too
    assert {(policy.get("event"), policy["action"]) for policy in spec["policies"][1:]} == {
        ("PodEvicted", "RestartJob"),
        ("PodFailed", "RestartJob"),
    }
