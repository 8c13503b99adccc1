"""The dry run without a GPU: what MindSpore says is read as it is meant, and what is missing is named in one line."""

import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_dry_run
from benchmarks.dry_run import stand_ins as module
from benchmarks.dry_run.gpu_process import DryRun, run_dry
from benchmarks.dry_run.kernel_log import CPU, EXPANDED, GPU, NOWHERE, KernelChoice, Use, read_kernel_choice
from benchmarks.dry_run.stand_ins import KERNELS, PLUGIN, StandIns, is_of_cuda, plugin_folder, stand_ins, symbols
from src.errors import UserError
from src.files.cache_folder import cache_folder
from tests.unusable_cache import no_folder, no_home

T32, T16, BOOL = "Tensor Float32 DefaultFormat,", "Tensor Float16 DefaultFormat,", "Number Bool DefaultFormat,"


# --- the log, in MindSpore 2.10's sentences ---


def said(module_name: str, function: str, text: str, level: str = "INFO") -> str:
    return f"[{level}] {module_name}(7,7fb0,python):2026-01-02-03:04:05.006.007 [mindspore/a.cc:1] {function}] {text}\n"


def begun(name: str, inputs: str, outputs: str) -> str:
    text = f"{name} kernel attr info: input[{inputs}] output[{outputs}]"
    return said("PRE_ACT", "SetKernelInfoWithMsg", text)


def refused(operator: str) -> str:
    text = f"GPU doesn't support the kernel {operator} and will try to backoff on CPU."
    return said("DEVICE", "SetBackoffInfo", text)


def on_cpu(name: str, inputs: str, outputs: str, outcome: str = "successfully") -> str:
    text = f"Backoff and rebuild kernel on CPU {outcome} for node: {name}, node attr: input[{inputs}] output[{outputs}]"
    return said("DEVICE", "RebuildKernelSelectBackoffOp", text)


def replaced(operator: str) -> str:
    return said("DEVICE", "SetOperatorInfo", f"Unsupported op [{operator}] on GPU, Please confirm")


def not_on_cpu(operator: str, by: str) -> str:
    return said(by, "GetCpuSupportedList", f"Not register CPU kernel of operator: {operator}")


def test_types_and_names_of_nodes():
    log = [begun("Default/net/MatMul-op12", T32 + T16 + BOOL, T32), begun("MatMul-op3x", T32 + T16 + BOOL, T32)]
    choice = read_kernel_choice(log)
    assert choice.counts == {Use("MatMul", "Float32 Float16 (Bool)", "Float32"): {GPU: 2}}
    assert choice.lines(GPU) == ["MatMul: Float32 Float16 (Bool) -> Float32: 2 GPU"]
    assert choice.num_nodes == 2 and choice.lines(CPU, NOWHERE) == []


def test_one_of_two_nodes_goes_to_the_cpu():
    log = [begun(f"Default/Fmax-op{n}", T32, T32) for n in (0, 1)]
    log += [refused("Fmax"), on_cpu("Default/Fmax-op1", T32, T32)]
    choice = read_kernel_choice(log)
    assert choice.lines(CPU) == ["Fmax: Float32 -> Float32: 1 GPU, 1 CPU"] and choice.num_nodes == 2


def test_no_kernel_anywhere():
    log = [begun("MatMul-op0", T16, T16), refused("MatMul"), on_cpu("MatMul-op0", T16, T16, "failed")]
    assert read_kernel_choice(log).lines(CPU, NOWHERE) == ["MatMul: Float16 -> Float16: 1 nowhere"]


def test_nodes_that_are_named_only_where_they_are_refused():
    number = "Number Int64 DefaultFormat,"
    log = [begun("Add-op0", T32, T32), *[refused("RealMakeTuple")] * 3]
    log += [on_cpu(f"RealMakeTuple-op{n}", number, number) for n in (0, 1)]
    choice = read_kernel_choice(log)  # one is never heard of again
    assert choice.lines(CPU) == ["RealMakeTuple: (Int64) -> (Int64): 2 CPU", "RealMakeTuple: ? -> ?: 1 CPU"]
    assert choice.lines(GPU) == ["Add: Float32 -> Float32: 1 GPU"]


def test_a_named_node_and_one_without_a_name():
    log = [begun("Fmax-op0", T32, T32), *[refused("Fmax")] * 2]
    log += [on_cpu("Fmax-op0", T32, T32), on_cpu("Fmax-op1", T32, T32)]
    assert read_kernel_choice(log).lines(GPU, CPU) == ["Fmax: Float32 -> Float32: 2 CPU"]


def test_replaced_by_other_operators():
    log = [begun("Muls-op0", T32, T32), begun("Expand/_Muls/Mul-op0", T32, T32), replaced("Muls")]
    choice = read_kernel_choice(log)
    assert choice.lines(EXPANDED) == ["Muls: Float32 -> Float32: 1 expanded"] and choice.lines(CPU) == []
    assert choice.lines(GPU) == ["Mul: Float32 -> Float32: 1 GPU"]


@pytest.mark.parametrize(("by", "place"), [("DEVICE", CPU), ("PRE_ACT", EXPANDED)])
def test_not_replaced_where_the_cpu_was_asked(by, place):
    log = [begun("Muls-op0", T32, T32), not_on_cpu("Muls", by), replaced("Muls")]
    assert [use.operator for use in read_kernel_choice(log).uses(place)] == ["Muls"]


def test_other_lines_say_nothing():
    log = ["", "Traceback\n", said("DEVICE", "AllocDeviceMem", "[MatMul]"), replaced("Unknown")]
    assert read_kernel_choice(log) == KernelChoice()


# --- what stands for CUDA ---


def test_names_of_cuda():
    of_cuda = ("cudaMalloc", "cuDeviceGetAttribute", "cublasCreate_v2", "cudnnCreate", "nvrtcVersion")
    assert all(map(is_of_cuda, of_cuda))
    assert not any(map(is_of_cuda, ("curl_easy_init", "cumsum", "malloc", "_Z8cudaThing")))


def test_variables_of_the_process():
    found = StandIns(Path("/c")).environment({"PATH": "/bin", "HOME": "/h", "LD_LIBRARY_PATH": "/lib"})
    assert found["PATH"] == "/c/bin:/bin" and found["LD_LIBRARY_PATH"] == "/c/lib64:/lib"
    assert found["LD_PRELOAD"] == f"/c/lib64/{KERNELS}" and found["HOME"] == "/h" and found["CUDA_HOME"] == "/c"
    assert StandIns(Path("/c")).environment({})["LD_LIBRARY_PATH"] == "/c/lib64"


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A MindSpore with the smallest plugin: it imports two functions of CUDA, a kernel of its own and one of C."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or not all(map(shutil.which, module.TOOLS)):
        pytest.skip("needs gcc and nm on Linux, x86-64")
    package = tmp_path / "mindspore"
    folder = package / "lib/plugin"
    (folder / "gpu").mkdir(parents=True)
    for path, source in (
        (folder / PLUGIN, "int cudaMalloc(), cudnnGetVersion(), own_kernel(), puts(); "
        "int all() { return cudaMalloc() + cudnnGetVersion() + own_kernel() + puts(); }"),
        (folder / "gpu" / KERNELS, "int own_kernel() { return 1; } int unused() { return 2; }"),
    ):  # fmt: skip
        command = ["gcc", "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(path)]
        subprocess.run(command, input=source, text=True, check=True)
    specification = type("Specification", (), {"submodule_search_locations": [str(package)]})
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: specification)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_the_library_is_made_once_and_nothing_beside_it(plugins, monkeypatch):
    made = stand_ins()
    assert [path.name for path in cache_folder().iterdir()] == [made.folder.name]
    assert sorted(path.name for path in made.folder.iterdir()) == ["bin", "lib64"]
    assert {path.name for path in (made.folder / "lib64").iterdir()} == {KERNELS, *module.LIBRARIES}
    own = symbols(made.library, "-D", "--defined-only")
    assert own > {"cudaMalloc", "cudnnGetVersion", "own_kernel", "cudaMemGetInfo"} and not own & {"puts", "unused"}
    version = subprocess.run([made.folder / "bin/nvcc", "--version"], capture_output=True, text=True, check=True)
    assert "release 11.6" in version.stdout
    monkeypatch.setattr(module, "_make", None)
    assert stand_ins() == made


def test_another_process_is_faster(plugins, monkeypatch):
    make = module._make

    def both(folder: Path, made: Path) -> None:
        make(folder, made)
        digest = cache_folder() / made.name
        (digest / "bin").mkdir(parents=True)

    monkeypatch.setattr(module, "_make", both)
    assert stand_ins().folder.is_dir()
    assert len(list(cache_folder().iterdir())) == 1


def test_the_functions_have_no_warnings(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    command = ["gcc", "-c", "-Wall", "-Werror", str(module.SOURCE), "-o", str(tmp_path / "a.o")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


# --- what is missing ---


def _without(tool):
    def change(monkeypatch, plugins):
        monkeypatch.setattr(module.shutil, "which", lambda name: None if name == tool else f"/bin/{name}")

    return change


def _broken_compiler(monkeypatch, plugins):
    (plugins / "bin").mkdir()
    (plugins / "bin/gcc").write_text("#!/bin/sh\necho one >&2\necho no such header >&2\nexit 1\n")
    (plugins / "bin/gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(plugins / "bin"), prepend=":")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without("gcc"), "needs gcc and nm, and there is no gcc; install gcc and binutils"),
        (_without("nm"), "needs gcc and nm, and there is no nm; install gcc and binutils"),
        (lambda m, _: m.setattr(module.platform, "machine", lambda: "aarch64"), "x86-64, got linux on aarch64"),
        (lambda m, _: m.setattr(module.sys, "platform", "darwin"), "needs Linux on x86-64, got darwin on x86_64"),
        (lambda m, _: m.setattr(module.importlib.util, "find_spec", lambda _: None), "MindSpore is not installed here"),
        (lambda _, plugins: (plugins / PLUGIN).unlink(), f"has no {PLUGIN} here, its plugin for GPU and CUDA 11.6"),
        (lambda _, plugins: (plugins / "gpu" / KERNELS).unlink(), f"has no {KERNELS} here"),
        (_broken_compiler, "cannot make the library of a dry run: no such header"),
        (no_home, "Could not determine home directory.; set XDG_CACHE_HOME"),
        (no_folder, "cannot make the library of a dry run: "),
    ],
    ids=["gcc", "nm", "processor", "system", "MindSpore", "plugin", "kernels", "compiler", "home", "folder"],
)
def test_what_is_missing(change, reason, plugins, monkeypatch):
    change(monkeypatch, plugins)
    with pytest.raises(UserError) as error:
        stand_ins()
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_the_command_line_refuses_in_one_line():
    Path("script.py").touch()
    for arguments, reason in (
        ([], "the following arguments are required: SCRIPT.py"),
        (["no.py"], "no.py: there is no such file"),
        (["--report", "no/such/file", "script.py"], "no/such"),
    ):
        with pytest.raises(UserError, match=reason):
            gpu_dry_run.main(arguments)


# --- the process ---


def nothing() -> StandIns:
    """A folder in which nothing stands for CUDA."""
    return StandIns(Path("nowhere").absolute())


def test_the_script_gets_its_arguments_and_leaves_its_log(tmp_path):
    script = tmp_path / "script.py"
    line = begun("Default/Add-op0", T32, T32)
    script.write_text(
        "import os, sys\n"
        f"open(os.path.join(os.environ['GLOG_log_dir'], 'a.INFO'), 'w').write({line!r})\n"
        "open('arguments', 'w').write(' '.join(sys.argv[1:]))\n"
        "sys.exit(5)\n"
    )
    run = run_dry(nothing(), [str(script), "--a", "b"])
    assert (run.exit_code, run.choice.lines(GPU)) == (5, ["Add: Float32 -> Float32: 1 GPU"])
    assert Path("arguments").read_text() == "--a b"


def test_time_is_over(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(60)\n")
    since = time.monotonic()
    with open("output", "w") as output:
        assert run_dry(nothing(), [str(script)], 0.3, output).exit_code is None
    assert time.monotonic() - since < 30


@pytest.mark.parametrize(
    ("code", "places", "expected"),
    [(0, [GPU], 0), (0, [GPU, CPU], 3), (0, [], 4), (7, [GPU, CPU], 7), (1, [], 1), (-11, [GPU], 139)],
)
def test_exit_codes_and_report(code, places, expected, monkeypatch, capsys):
    choice = read_kernel_choice(
        [begun("Add-op0", T32, T32)] * (GPU in places)
        + [begun("Fmax-op0", T32, T32), refused("Fmax")] * (CPU in places)
    )
    monkeypatch.setattr(gpu_dry_run, "stand_ins", nothing)
    monkeypatch.setattr(gpu_dry_run, "run_dry", lambda cuda, command: DryRun(code, choice))
    Path("script.py").touch()
    assert gpu_dry_run.main(["--report", "report.txt", "script.py"]) == expected
    assert len(Path("report.txt").read_text().splitlines()) == len(places)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].startswith(f"gpu_dry_run: {len(places)} operators with {len(places)} combinations of types")
    assert ("gpu_dry_run: no kernel for the GPU: Fmax: Float32 -> Float32: 1 CPU" in printed) == (CPU in places)


def test_the_installed_plugin_is_found_or_its_lack_is_named():
    try:
        assert (plugin_folder() / PLUGIN).is_file()
    except UserError as error:
        assert "\n" not in str(error)
