"""complexity.py as a user runs it: every output, and every refusal."""

import csv
import json
import re
from pathlib import Path

import pytest

import complexity as command
from src.models import list_models
from src.terminal.command import run_command
from tests.complexity.test_count import PYRAMID_TNT, PYRAMID_TNT_PARTS, T2T_VIT, T2T_VIT_PARTS, TNT, TNT_PARTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
NATIVE = {
    name: (totals, dict(zip(part_names, numbers, strict=True)))
    for part_names, rows in ((TNT_PARTS, TNT), (PYRAMID_TNT_PARTS, PYRAMID_TNT), (T2T_VIT_PARTS, T2T_VIT))
    for name, arguments, totals, numbers in rows
    if not arguments
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Everything that one call writes of all variants, and their closed forms in a second one."""
    folder = tmp_path_factory.mktemp("complexity")
    kinds = ("json", "csv", "markdown")
    command.main([text for kind in kinds for text in (f"--{kind}", str(folder / f"all.{kind}"))])
    command.main(
        ["tnt_s_patch16_224", "--formula"]
        + [text for kind in kinds for text in (f"--{kind}", str(folder / f"formula.{kind}"))]
    )
    return folder


def test_json(files):
    networks = {entry["model"]: entry for entry in json.loads((files / "all.json").read_text())["networks"]}
    assert list(networks) == list_models()
    for name, ((parameters, trainable, total), parts) in NATIVE.items():
        entry = networks[name]
        assert (entry["parameters"], entry["trainable_parameters"], entry["multiply_adds"]) == (
            parameters,
            trainable,
            total,
        )
        assert entry["multiply_adds_by_part"] == {part: number for part, number in parts.items() if number}
        assert "formula" not in entry
    assert networks["tnt_s_patch16_224"]["published_accuracy"] == {"top1": 81.5, "top5": 95.7}
    assert networks["ptnt_ti_patch16_192"]["image_size"] == [192, 192]


def test_csv(files):
    with (files / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == list_models()
    for row in rows:
        (parameters, trainable, total), parts = NATIVE[row["network"]]
        assert (int(row["parameters"]), int(row["trainable_parameters"]), int(row["multiply_adds"])) == (
            parameters,
            trainable,
            total,
        )
        assert all(int(row[part]) == number for part, number in parts.items())
        assert sum(int(row[part]) for part in list(row)[7:]) == total


def test_formula_in_json(files):
    (entry,) = json.loads((files / "formula.json").read_text())["networks"]
    formula = entry["formula"]
    assert formula["letters"]["n"] == 196
    assert sum(term["paper"] for term in formula["multiply_adds"]) == 12 * 429_305_856
    assert sum(term["counted"] for term in formula["multiply_adds"]) == entry["multiply_adds"] == 5_216_875_008
    assert sum(term["counted"] for term in formula["parameters"]) == entry["parameters"] == 23_843_848
    assert formula["block"]["tnt_multiply_adds"] == 429_305_856


@pytest.mark.parametrize(
    "line",
    [
        "| `tnt_s_patch16_224` | 224 | 23.84 | 5.22 | 81.5 | 95.7 |",
        "| `ptnt_b_patch16_256` | 256 | 156.99 | 15.97 | 84.1 | – |",
        "| `tnt_s_patch16_224` | 224 | 1000 | 23,843,848 | 23,768,584 | 5,216,875,008 |",
        "| `tnt_s_patch16_224` | 11.1 | 115.6 | 173.4 | 375.7 | 1,752.0 | 2,788.7 | 0.4 |",
        "| `t2t_vit_14_se` | 299.0 | 2,044.0 | 2,440.1 | 0.3 | – | 0.4 |",
    ],
)
def test_markdown(files, line):
    assert line in (files / "all.markdown").read_text().splitlines()


@pytest.mark.parametrize("readme", ["README.md", "README_CN.md"])
def test_the_readmes_have_the_same_numbers(files, readme):
    lines = (DOCS.parent / readme).read_text().splitlines()
    shown = [line for line in lines if re.match(r"\| `(tnt|ptnt|t2t)_\w+` \| \d+ \|", line)]
    assert len(shown) >= 16
    assert set(shown) <= set((files / "all.markdown").read_text().splitlines())


def tables(path):
    return [block.strip() for block in path.read_text().split("\n\n") if block.startswith("|")]


def test_the_guide_holds_the_tables_as_the_command_writes_them(files):
    guide = (DOCS / "complexity.md").read_text()
    _, totals, *parts = tables(files / "all.markdown")
    *_, multiply_adds, parameters, block = tables(files / "formula.markdown")
    for table in (totals, *parts, multiply_adds, parameters, block):
        assert f"\n\n{table}\n\n" in guide


def test_the_numbers_in_the_sentences_of_the_guide(files):
    guide = " ".join((DOCS / "complexity.md").read_text().split())
    (entry,) = json.loads((files / "formula.json").read_text())["networks"]
    block, parts = entry["formula"]["block"], entry["multiply_adds_by_part"]
    terms = {term["part"]: term for term in entry["formula"]["multiply_adds"]}
    formula = 12 * block["tnt_multiply_adds"]
    class_token = terms["outer attention"]["added"] + terms["outer MLP"]["added"]
    beside = parts["stem"] + terms["word-to-sentence"]["added"] + parts["head"]
    assert formula + class_token + beside == entry["multiply_adds"]
    assert f"{formula:,} by the formula and {formula + class_token:,} with the class token" in guide
    assert f"add {beside:,}" in guide and f"{entry['multiply_adds']:,} in all" in guide
    plain, output = block["plain_multiply_adds"], block["output_projection"]
    assert f"has {plain:,} multiply-adds" in guide
    assert f"{plain - output:,} without the output projection, {output:,} = nd² less" in guide
    assert f"{block['tnt_multiply_adds'] / plain:.3f} times the multiply-adds" in guide
    assert f"{block['tnt_parameters'] / block['plain_parameters']:.3f} times the weights" in guide


def test_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns in (72, 80, 100, 140):
        monkeypatch.setenv("COLUMNS", str(columns))
        command.main(["tnt_s_1_patch16_224", "tnt_b_patch16_224", "--formula"])
        command.main(["ptnt_b_patch16_256", "t2t_vit_14_se", "t2t_vit_dense", "--image_size", "256", "512"])
        assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_chosen_variants_once_in_their_order(capsys):
    command.main(["t2t_vit_7", "tnt_ti_patch16_224", "t2t_vit_7", "--image_size", "192", "256", "--num_classes", "5"])
    out = capsys.readouterr().out
    assert [line.split()[:5] for line in out.splitlines()[2:4]] == [
        ["t2t_vit_7", "192", "x", "256", "5"],
        ["tnt_ti_patch16_224", "192", "x", "256", "5"],
    ]
    assert "ptnt" not in out and "frozen ones included" in out


def test_other_sizes_show_no_published_accuracy():
    command.main(["tnt_s_patch16_224", "--image_size", "384", "--markdown", "a.md", "--json", "a.json"])
    text = Path("a.md").read_text()
    assert "published" not in text.split("\n\n")[1] and "| `tnt_s_patch16_224` | 384 | 24.14 | 17.31 |" in text
    assert json.loads(Path("a.json").read_text())["networks"][0]["published_accuracy"] is None


def test_plot(capsys):
    command.main(["tnt_ti_patch16_224", "ptnt_ti_patch16_192", "--plot", "a.png"])
    assert capsys.readouterr().err.startswith("written: a.png\nnext: python ")
    content = Path("a.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 20_000
    command.main(["tnt_ti_patch16_224", "--plot", "a.png"])
    assert Path("a.png").read_bytes() != content


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["tnt_s_patch_224"], "unknown model 'tnt_s_patch_224'; did you mean tnt_s_patch16_224"),
        (["--image_size", "240"], "image_size: PyramidTNT takes sides that are positive multiples of 32"),
        (
            ["--image_size", "224", "224", "3"],
            "--image_size: expected a side, or height and width, in pixels, got 224 224 3",
        ),
        (["--image_size", "0"], "--image_size: expected a whole number from 1 to 4096, got 0"),
        (["--image_size", "100000"], "expected a whole number from 1 to 4096, got 100000"),
        (
            ["--image_size", "big"],
            "complexity.py: argument --image_size: expected a whole number from 1 to 4096, got big; see --help",
        ),
        (["--num_classes", "-1"], "--num_classes: expected a whole number from 0 to 1000000, got -1"),
        (["t2t_vit_14", "--formula"], "--formula: the closed form is that of the TNT paper; t2t_vit_14 is no TNT"),
        (["--plot", "a.png", "--image_size", "256"], "--plot: accuracy is published for one size"),
        (["--plot", "a.pdf"], "a.pdf: expected a name that ends in .png"),
        (["--json", "missing/a.json"], "cannot write missing/a.json: missing is not a folder"),
        (["--markdown", "."], "is a folder; give the name of a file"),
        (["--plott", "a.png"], "unrecognized arguments: --plott; see --help"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: command.main(arguments))
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and not out
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert list(Path().iterdir()) == []
