"""Options of the launch scripts, and the command lines of msrun that come of them, as strings."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from src.devices.launch_plan import (
    WAIT_FOR_LAUNCHER,
    LaunchPlan,
    free_port,
    is_connected,
    is_free,
    is_own_address,
    msrun_command,
    parse_launch_options,
    process_environment,
    resuming,
)
from src.errors import UserError

PLAN = LaunchPlan(
    program=Path("/code/train.py"),
    arguments=("--config", "run.yaml"),
    device="CPU",
    devices=2,
    nnodes=1,
    node_rank=0,
    master_addr="127.0.0.1",
    master_port=8118,
    logs=Path("/runs/run/logs"),
)
START = "/bin/python3 -m mindspore.parallel.cluster.run"
PROGRAM = f"python3 -I -S {WAIT_FOR_LAUNCHER} 77 {{}} /bin/python3 /code/train.py --config run.yaml"


def command(plan):
    return " ".join(msrun_command(plan, launcher=77, python="/bin/python3"))


def options(*argv, can_resume=True):
    return parse_launch_options("script.sh", argv, can_resume)


@pytest.mark.parametrize(("device", "devices"), [("CPU", 2), ("GPU", 4), ("Ascend", 8)])
def test_one_host(device, devices):
    assert command(replace(PLAN, device=device, devices=devices)) == (
        f"{START} --worker_num={devices} --local_worker_num={devices} --master_addr=127.0.0.1 --master_port=8118 "
        f"--log_dir=/runs/run/logs --join=False --cluster_time_out=600 {PROGRAM.format(0)}"
    )


def test_several_hosts():
    plan = replace(PLAN, device="Ascend", devices=8, nnodes=4, node_rank=3, master_addr="10.0.0.1", master_port=9000)
    assert command(plan) == (
        f"{START} --worker_num=32 --local_worker_num=8 --master_addr=10.0.0.1 --master_port=9000 --node_rank=3 "
        f"--log_dir=/runs/run/logs --join=False --cluster_time_out=600 {PROGRAM.format(3)}"
    )
    assert list(plan.ranks) == [24, 25, 26, 27, 28, 29, 30, 31]
    assert plan.log_of(24) == Path("/runs/run/logs/worker_24.log")
    assert plan.log_of(None) == Path("/runs/run/logs/scheduler.log")


def test_binding_and_rank_table():
    plan = replace(PLAN, device="Ascend", bind_core=True, rank_table=Path("/etc/hccl.json"))
    assert " --bind_core=True --rank_table_file=/etc/hccl.json python3 " in command(plan)
    assert "bind_core" not in command(PLAN) and "rank_table" not in command(PLAN)


def test_processes_share_the_cores_of_a_cpu():
    assert process_environment(PLAN, {}, cores=16)["OMP_NUM_THREADS"] == "8"
    assert process_environment(PLAN, {}, cores=1)["OMP_NUM_THREADS"] == "1"
    assert process_environment(PLAN, {"OMP_NUM_THREADS": "3"}, cores=16)["OMP_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in process_environment(replace(PLAN, device="Ascend"), {}, cores=16)


def test_options_of_the_program_pass_through_in_order():
    parsed = options(
        "--config", "a.yaml", "--devices", "4", "--train.batch_size", "8", "--freeze", "a", "b", "--resume"
    )
    assert parsed.arguments == (
        "--config", "a.yaml", "--train.batch_size", "8", "--freeze", "a", "b", "--resume"
    )  # fmt: skip
    assert (parsed.config, parsed.devices, parsed.nnodes, parsed.node_rank) == ("a.yaml", 4, 1, 0)


def test_without_options_there_is_one_host_and_the_demo(tmp_path):
    parsed = options()
    assert Path(parsed.config).is_file() and Path(parsed.config).is_absolute()
    assert parsed.arguments == ("--config", parsed.config)
    assert (parsed.devices, parsed.nnodes, parsed.master_port, parsed.restarts) == (None, 1, None, 0)


def test_a_host_finds_itself_in_the_list():
    parsed = options("--hosts", "192.0.2.7,127.0.0.1")  # the first is of a range that nobody has
    assert (parsed.nnodes, parsed.node_rank, parsed.master_addr) == (2, 1, "192.0.2.7")
    parsed = options("--hosts", "192.0.2.7,192.0.2.8,192.0.2.9", "--node_rank", "2")
    assert (parsed.nnodes, parsed.node_rank) == (3, 2)


def test_a_rank_table_is_found_from_where_the_user_is(tmp_path):
    Path("table.json").write_text("{}")
    assert options("--rank_table", "table.json").rank_table == tmp_path / "table.json"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--devices x", "--devices: expected a whole number from 1 to 1024, got x"),
        ("--devices 0", "--devices: expected a whole number from 1 to 1024, got 0"),
        (f"--devices {10**9}", "--devices: expected a whole number from 1 to 1024, got 1000000000"),
        ("--devices", "--devices: expected one argument"),
        ("--nnodes 2", "--node_rank is missing"),
        ("--nnodes 2 --node_rank 0", "--master_addr is missing"),
        ("--node_rank 1", "--nnodes is missing"),
        ("--nnodes 2 --node_rank 2 --master_addr a", "--node_rank: expected 0 to 1 for 2 hosts, got 2"),
        ("--hosts a,,b", "--hosts: expected different names or addresses"),
        ("--hosts a,a", "--hosts: expected different names or addresses"),
        ("--hosts a,b --nnodes 2", "--nnodes: leave it out"),
        ("--hosts 192.0.2.7,192.0.2.8", "--node_rank is missing: expected one of --hosts"),
        ("--master_port 80", "--master_port: expected a whole number from 1024 to 65535, got 80"),
        ("--rank_table none.json", "--rank_table: expected a JSON file, got 'none.json'"),
        ("--restarts -1", "--restarts: expected"),
    ],
)
def test_a_wrong_or_missing_option_is_named(argv, message):
    with pytest.raises(UserError, match="^script.sh: ") as error:
        options(*argv.split())
    assert message in str(error.value)


def test_evaluation_knows_no_restarts():
    parsed = options("--config", "a.yaml", "--restarts", "2", can_resume=False)
    assert parsed.arguments == ("--config", "a.yaml", "--restarts", "2")  # which eval.py refuses


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--config a", "--config a --resume"),
        ("--config a --overwrite --seed 1", "--config a --seed 1 --resume"),
        ("--resume --config a", "--config a --resume"),
        ("--resume old.ckpt --config a", "--config a --resume"),
        ("--resume=old.ckpt --config a", "--config a --resume"),
        ("--config a --resume", "--config a --resume"),
    ],
)
def test_a_restart_continues_the_run_itself(before, after):
    assert resuming(before.split(), None, (1, 2)) == tuple(after.split())


@pytest.mark.parametrize(
    ("arguments", "stamp", "after"),
    [
        ("--config a", None, "--config a --resume"),
        ("--resume --config a", None, "--config a --resume"),
        ("--resume old.ckpt --config a", None, "--resume old.ckpt --config a"),
        ("--config a --resume=old.ckpt", (1, 2), "--config a --resume=old.ckpt"),
        ("--config a --resume", (1, 2), "--config a --resume"),
        ("--config a --overwrite", (1, 2), "--config a --overwrite"),  # the old run is still there
        ("--config a --overwrite", None, "--config a --resume"),
    ],
)
def test_a_restart_where_nothing_was_saved(arguments, stamp, after):
    """It must not train from scratch in place of going on from old.ckpt, nor go on with what was to be overwritten."""
    assert resuming(arguments.split(), stamp, stamp) == tuple(after.split())


def test_own_addresses():
    assert is_own_address("127.0.0.1") and is_own_address("localhost")
    assert not is_own_address("192.0.2.7") and not is_own_address("no.such.host.invalid")


def test_connections():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not is_connected(port)
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            assert is_connected(port)
        assert not is_connected(port)  # the other side has left
        accepted.close()


def test_free_ports():
    port = free_port()
    assert is_free(port)
    with socket.socket() as listener:
        listener.bind(("", port))
        listener.listen()
        assert not is_free(port)
