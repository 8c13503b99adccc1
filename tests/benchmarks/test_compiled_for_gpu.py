"""What is compiled for GPU without one: every network and recipe, and what came out of each."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import compiled_for_gpu as script
from benchmarks.dry_run import outcome as module
from benchmarks.dry_run.cases import BATCH_SIZE, RECIPES, REFUSED, SUBJECTS, Case, all_cases, choose
from benchmarks.dry_run.gpu_process import DryRun
from benchmarks.dry_run.kernel_log import CPU, GPU, NOWHERE, KernelChoice, Use
from benchmarks.dry_run.outcome import ON_CPU, ON_GPU, Outcome, compile_for_gpu, refusal_of
from benchmarks.dry_run.stand_ins import StandIns, stand_ins
from benchmarks.written_table import END
from src.config import flat_values
from src.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
ALL_ON_GPU = KernelChoice({Use("Add", "Float32", "Float32"): {GPU: 3, CPU: 0, NOWHERE: 0}})
SOME_ON_CPU = KernelChoice(
    {
        Use("Add", "Float32", "Float32"): {GPU: 1, CPU: 0, NOWHERE: 0},
        Use("TopK", "Int32", "Int32"): {GPU: 1, CPU: 2, NOWHERE: 0},
        Use("Fmax", "Float32", "Float32"): {GPU: 0, CPU: 1, NOWHERE: 0},
    }
)


# --- cases ---


def test_every_recipe_and_every_network_is_a_case():
    cases = all_cases()
    recipes = {str(path.relative_to(RECIPES).with_suffix("")) for path in RECIPES.rglob("*.yaml")}
    recipes = {name for name in recipes if not name.startswith("base/")}
    assert {case.subject for case in cases.values()} == {*SUBJECTS, *recipes}
    assert {case.subject for case in cases.values() if case.kind == "recipe"} == recipes
    assert all(name == case.name for name, case in cases.items())


def changes(subject: str, kind: str) -> dict:
    """Keys in which a case's configuration differs from that of plain training."""
    before, now = (dict(flat_values(Case(subject, of).config())) for of in ("training", kind))
    return {key: value for key, value in now.items() if value != before[key]}


def test_kinds_change_what_they_say():
    half = {"train.precision": "float16"}
    assert changes("tnt", "forward") == {} and changes("tnt", "training_float16") == half
    assert changes("ptnt", "recompute") == {"train.recompute": True}
    assert changes("t2t_vit", "sgd") == {"optimizer.name": "sgd"}
    everything = changes("tnt", "everything")
    assert everything.items() >= {"model.drop_rate": 0.1, "model.attn_drop_rate": 0.1, "data.mixup": 0.8}.items()
    assert (everything["train.accumulate"], everything["optimizer.clip_norm"]) == (2, 1.0)
    assert changes("tnt", "everything_float16") == everything | half
    detector = changes("mask_rcnn", "everything")
    assert detector["train.accumulate"] == 2 and not any(
        key.startswith(("data.", "model.drop_rate")) for key in detector
    )


def test_configurations():
    assert Case("tnt_se", "training").config().model.se and not Case("tnt", "training").config().model.se
    assert Case("t2t_vit_t", "sgd").config().model.name == "t2t_vit_t_14"
    recipe = Case("detection/mask_rcnn_ptnt_s_3x", "recipe").config()
    assert recipe.model.name == "mask_rcnn_ptnt_s" and recipe.train.batch_size == BATCH_SIZE
    assert Case("classification/tnt_s_patch16_224", "recipe_float16").config().train.precision == "float16"
    assert asdict(Case("tnt", "training").config()) == asdict(Case("tnt", "training").config())  # nothing is kept


def test_cases_are_chosen_by_patterns():
    assert [case.name for case in choose(["tnt/sgd", "tnt/for*"])] == ["tnt/forward", "tnt/forward_float16", "tnt/sgd"]
    assert len(choose([])) == len(all_cases())
    with pytest.raises(UserError, match="no case is called 'tnt/forwards'; .*tnt/forward"):
        choose(["tnt/sgd", "tnt/forwards"])


# --- outcomes ---


@pytest.mark.parametrize(
    ("outcome", "state", "text"),
    [
        (Outcome(Case("tnt", "sgd"), choice=ALL_ON_GPU), ON_GPU, "all on GPU kernels"),
        (Outcome(Case("tnt", "sgd"), choice=SOME_ON_CPU), ON_CPU, "2 operators on CPU: Fmax, TopK"),
        (Outcome(Case("tnt", "sgd"), "no kernel", SOME_ON_CPU), REFUSED, "refused: no kernel"),
    ],
)
def test_outcomes(outcome, state, text):
    assert (outcome.state, str(outcome)) == (state, text)


@pytest.mark.parametrize(
    ("code", "printed", "choice", "expected"),
    [
        (0, "warning\n", ALL_ON_GPU, ""),
        (0, "", KernelChoice(), "no graph was compiled for the GPU"),
        (1, "a\nrefused: TypeError: no kernel\n[INFO] end\n", ALL_ON_GPU, "TypeError: no kernel"),
        (2, "error: no such case\n\n", ALL_ON_GPU, "error: no such case"),
        (1, "", ALL_ON_GPU, "it printed nothing"),
        (-11, "working\n", ALL_ON_GPU, "its process was ended by SIGSEGV: working"),
        (None, "working\n", ALL_ON_GPU, "nothing within 9 s"),
    ],
)
def test_refusals(code, printed, choice, expected):
    assert refusal_of(DryRun(code, choice), printed, 9) == expected


def test_a_case_runs_in_a_folder_of_its_own(monkeypatch, tmp_path):
    program = tmp_path / "one_case.py"
    program.write_text(
        "import os, sys\nos.mkdir('left')\nimport benchmarks\nprint('refused:', sys.argv[1])\nsys.exit(1)\n"
    )
    monkeypatch.setattr(module, "SCRIPT", program)
    before = set(tmp_path.iterdir())
    outcome = compile_for_gpu(Case("tnt", "sgd"), StandIns(tmp_path / "nothing"), 60)
    assert outcome.refusal == "tnt/sgd" and set(tmp_path.iterdir()) == before


# --- tables ---


@pytest.fixture
def outcomes(monkeypatch):
    """In place of compiling: what comes out of a few cases."""
    known = {
        "tnt/forward": ("", ALL_ON_GPU),
        "tnt/sgd": ("", SOME_ON_CPU),
        "retinanet/sgd": ("nothing within 9 s", KernelChoice()),
        "demo/tnt_digits/recipe": ("", ALL_ON_GPU),
        "demo/t2t_digits/recipe": ("", SOME_ON_CPU),
        "transfer/folder_224/recipe": ("", ALL_ON_GPU),
    }
    monkeypatch.setattr(script, "stand_ins", lambda: StandIns(Path("nothing")))
    monkeypatch.setattr(script, "compile_for_gpu", lambda case, cuda, seconds: Outcome(case, *known[case.name]))
    return known


def test_the_document(outcomes, capsys):
    page = Path("page.md")
    page.write_text(f"before\n<!-- written by benchmarks/compiled_for_gpu.py -->\n{END}\nafter\n")
    assert script.main([*outcomes, "--jobs", "2", "--markdown", str(page)]) == 1
    lines = page.read_text().splitlines()
    assert "|  | inference | SGD |" in lines
    assert "| TNT | GPU | CPU: Fmax, TopK |" in lines and "| RetinaNet | – | refused |" in lines
    assert "| Demos, config/demo | 1 of 2 | – |" in lines and "| Transfer, config/transfer | 1 of 1 | – |" in lines
    assert not any("COCO" in line for line in lines)
    assert [line for line in lines if line.startswith("- ")] == [
        "- `retinanet/sgd`: refused: nothing within 9 s",
        "- `demo/t2t_digits/recipe`: 2 operators on CPU: Fmax, TopK",
    ]
    assert any("3 of 6 cases all on GPU kernels; 3 operators with 3 combinations of types" in line for line in lines)
    assert "tnt/forward: all on GPU kernels" in capsys.readouterr().out


def test_exit_code_where_all_is_well(outcomes):
    assert script.main(["tnt/forward"]) == 0


def test_names_are_listed(capsys):
    assert script.main(["--list"]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == list(all_cases())


# --- MindSpore's GPU compiler ---


@pytest.fixture(scope="module")
def cuda():
    """What stands for CUDA; a reason where it cannot be had."""
    try:
        return stand_ins()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_training_is_on_gpu_kernels(name, cuda):
    outcome = compile_for_gpu(Case(name, "everything_float16"), cuda, 600)
    assert str(outcome) == ON_GPU
    assert outcome.choice.num_nodes > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("control", "code", "found"),
    [
        ("good", 0, []),
        ("cpu", 3, ["Fmax: Float32 Float32", "LogicalXor: Bool Bool", "MatMul: Int32 Int32 (Bool) (Bool)"]),
        ("nowhere", 1, ["MatMul: BFloat16 BFloat16 (Bool) (Bool)"]),
    ],
)
def test_controls(control, code, found, cuda):
    command = [REPOSITORY / "benchmarks/gpu_dry_run.py", "--report", "report.txt"]
    command += [REPOSITORY / "tests/benchmarks/gpu_control.py", control]
    ended = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    marked = [line for line in ended.stderr.splitlines() if "no kernel for the GPU: " in line]
    assert [line.partition("GPU: ")[2].partition(" ->")[0] for line in marked] == found
    assert len(Path("report.txt").read_text().splitlines()) == {"good": 3, "cpu": 3, "nowhere": 1}[control]
