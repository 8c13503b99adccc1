"""predict.py on a tiny detector with random weights, as a user runs it."""

import contextlib
import csv
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image
from pycocotools.coco import COCO

import predict as command
from src.data.coco import Coco
from src.data.detection_loader import DetectionEvalLoader
from src.detection.catalogue import create_detector
from src.detection.retinanet import RetinaNetPredictions
from src.devices.device import set_up_device
from src.prediction import open_predictor
from src.prediction.box_drawing import SMALLEST
from src.prediction.detector import Detector
from src.terminal.command import run_command
from src.weights.checkpoint import save_checkpoint
from src.weights.detector_card import DetectorCard
from src.weights.model_card import ModelCard
from tests.command_output import without_outcome
from tests.tiny_detectors import TINY_BACKBONE

pytestmark = pytest.mark.usefixtures("equal_graphs")

CONFIG = """
model: {name: retinanet_ptnt_ti, image_size: [64, 128]}
data: {source: coco, root: coco, short_sides: [48], long_side: 96, workers: 0}
"""
SIZES = {"0.png": (90, 60), "1.png": (50, 70), "2.png": (64, 64), "3.png": (40, 80), "4.png": (100, 30)}
IDS = {name: 10 * number + 7 for number, name in enumerate(SIZES)}
CARD = DetectorCard(
    model="retinanet_ptnt_ti",
    arguments={
        "table_size": 64,
        "anchor_scale": 2.0,
        "fpn_channels": 8,
        "stacked_convs": 0,
        "backbone": TINY_BACKBONE,
    },
    classes=["cat", "dog"],
    category_ids=[1, 2],
    canvas=(64, 128),
    short_side=48,
    long_side=96,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
LABELS = ModelCard("tnt_ti_patch16_224", {"depth": 1}, ["a", "b"], (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


def run(argv, capfd) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command."""
    with pytest.raises(SystemExit) as end:
        run_command(partial(command.main, argv))
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


def write_files(folder: Path) -> None:
    """Five images, landscape, portrait and square, as the validation images of a data set, and its configuration."""
    random = np.random.default_rng(0)
    (folder / "coco/val2017").mkdir(parents=True)
    (folder / "coco/annotations").mkdir()
    for name, (width, height) in SIZES.items():
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "coco/val2017" / name)
    images = [{"id": IDS[name], "file_name": name, "width": w, "height": h} for name, (w, h) in SIZES.items()]
    box = {"id": 1, "image_id": IDS["0.png"], "category_id": 9, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0}
    categories = [{"id": 9, "name": "cat"}, {"id": 5, "name": "dog"}]  # the order of ids is not that of the checkpoint
    content = {"images": images, "annotations": [box], "categories": categories}
    (folder / "coco/annotations/instances_val2017.json").write_text(json.dumps(content))
    (folder / "tiny.yaml").write_text(CONFIG)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint, and its detector, compiled once for all tests, which gives all boxes."""
    folder = tmp_path_factory.mktemp("trained")
    set_up_device("CPU", 1, True)
    net = create_detector(CARD.model, **CARD.detector_arguments())
    weight = net.bbox_head.retina_cls.weight
    weight.set_data(Tensor(np.random.default_rng(1).standard_normal(weight.shape).astype(np.float32)))
    save_checkpoint(folder / "net.ckpt", net.get_parameters(), CARD)
    cell = RetinaNetPredictions(net, score_threshold=0.0, max_per_image=1000).set_train(False)
    return folder / "net.ckpt", Detector(lambda *x: tuple(y.asnumpy() for y in cell(*map(Tensor, x))), CARD)


@pytest.fixture
def checkpoint(trained, monkeypatch):
    """Its options; the working folder has the images and their configuration."""
    monkeypatch.setattr(open_predictor, "create_detector", lambda *_: trained[1])
    write_files(Path())
    return ["--checkpoint", str(trained[0])]


def found(content) -> dict[str, list]:
    return {Path(image["file"]).name: image["detections"] for image in content["images"]}


def test_all_that_is_written_says_the_same(checkpoint, trained, capfd):
    options = ["--config", "tiny.yaml", *checkpoint, "--score_threshold", "0.9", "--max_boxes", "4"]
    files = ["--json", "out.json", "--csv", "out.csv", "--coco_results", "coco.json", "--draw", "drawn"]
    code, out, err = run(["coco/val2017", *options, *files], capfd)
    assert code == 0 and without_outcome(err).splitlines() == [
        f"the data has the 2 labels of {trained[0]} in another order: matched by name"
    ]
    content = json.loads(Path("out.json").read_text())
    assert content["skipped"] == [] and list(found(content)) == list(SIZES)
    assert [(image["width"], image["height"]) for image in content["images"]] == list(SIZES.values())

    # against the loader of evaluation, which numbers labels as the data does
    data = Coco("coco", "val")
    loader = DetectionEvalLoader(
        data, canvas=(64, 128), short_sides=[48], long_side=96, mean=CARD.mean, std=CARD.std, batch_size=1, workers=0
    )
    for batch in loader:
        boxes, scores, labels, _ = trained[1].run(*batch.inputs)
        detections = found(content)[data.path(int(batch.truth[0][0])).name]
        number = min(4, int((scores[0] > 0.9).sum()))
        assert [item["label"] for item in detections] == [CARD.classes[label] for label in labels[0, :number]]
        np.testing.assert_allclose([item["score"] for item in detections], scores[0, :number], atol=1e-5)
        np.testing.assert_allclose([item["box"] for item in detections], boxes[0, :number], atol=0.006)
    flat = [(Path(i["file"]), item) for i in content["images"] for item in i["detections"]]
    assert 5 <= len(flat) <= 20 and {item["label"] for _, item in flat} == {"cat", "dog"}

    header, *rows = out.splitlines()
    assert header.split() == ["file", "label", "score", "x0", "y0", "x1", "y1"] and len(rows) == len(flat)
    for row, (_, item) in zip(rows, flat, strict=True):
        assert row.split()[-6] == item["label"]
        np.testing.assert_allclose([float(cell) for cell in row.split()[-5:-4]], item["score"], atol=1e-4)
        np.testing.assert_allclose([float(cell) for cell in row.split()[-4:]], item["box"], atol=0.06)
    with open("out.csv", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["file", "label", "score", "x0", "y0", "x1", "y1"]
    assert lines == [[str(f), item["label"], str(item["score"]), *map(str, item["box"])] for f, item in flat]

    with contextlib.redirect_stdout(io.StringIO()):
        results = COCO("coco/annotations/instances_val2017.json").loadRes("coco.json")
    entries = sorted(results.anns.values(), key=lambda entry: entry["id"])
    assert [entry["image_id"] for entry in entries] == [IDS[file.name] for file, _ in flat]
    assert [entry["category_id"] for entry in entries] == [{"cat": 9, "dog": 5}[item["label"]] for _, item in flat]
    for entry, (_, item) in zip(entries, flat, strict=True):
        x, y, width, height = entry["bbox"]
        np.testing.assert_allclose([x, y, x + width, y + height], item["box"], atol=0.011)
        assert entry["score"] == item["score"]

    for name, (width, height) in SIZES.items():
        with Image.open(f"drawn/{name}.prediction.png") as picture:
            factor = -(-SMALLEST // min(width, height))
            assert picture.format == "PNG" and picture.size == (factor * width, factor * height)


def test_as_compiled_for_the_command(trained, capfd):
    """Threshold and number of boxes in the graph, in batches, are what they are outside of it, one by one."""
    write_files(Path())
    images = [f"coco/val2017/{name}" for name in ("1.png", "3.png", "1.png")]
    options = ["--config", "tiny.yaml", "--score_threshold", "0.5", "--max_boxes", "5"]
    Path("output/tiny/checkpoints").mkdir(parents=True)
    Path("output/tiny/checkpoints/best.ckpt").symlink_to(trained[0])
    code, _, err = run([*images, *options, "--batch_size", "2", "--json", "one.json"], capfd)
    assert code == 0 and [line.split()[0] for line in err.splitlines()] == ["written:", "next:"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_predictor, "create_detector", lambda *_: trained[1])
        code, _, err = run([*images, *options, "--json", "two.json"], capfd)
    assert code == 0 and [line.split()[0] for line in err.splitlines()] == ["written:", "next:"]
    one, two = (json.loads(Path(name).read_text())["images"] for name in ("one.json", "two.json"))
    assert [image["file"] for image in one] == [image["file"] for image in two] == images
    for image, other in zip(one, two, strict=True):
        assert 0 < len(image["detections"]) == len(other["detections"]) <= 5
        for item, its in zip(image["detections"], other["detections"], strict=True):
            assert item["label"] == its["label"] and item["score"] == pytest.approx(its["score"], abs=2e-5)
            np.testing.assert_allclose(item["box"], its["box"], atol=0.011)


def test_without_a_configuration_and_nothing_found(checkpoint, capfd):
    code, out, err = run(
        ["coco/val2017/0.png", *checkpoint, "--score_threshold", "1", "--coco_results", "x.json"], capfd
    )
    assert code == 2 and err.startswith("error: --coco_results needs the data set that the images are of: add --config")
    options = [*checkpoint, "--score_threshold", "1", "--csv", "out.csv", "--draw", "drawn"]
    code, out, err = run(["coco/val2017/0.png", *options], capfd)
    assert code == 0 and err.startswith("written: out.csv\nwritten: drawn (1 image)\nnext: python ")
    assert [line.split() for line in out.splitlines()] == [
        ["file", "label", "score", "x0", "y0", "x1", "y1"],
        ["coco/val2017/0.png", "nothing", "found"],
    ]
    assert Path("out.csv").read_text() == "file,label,score,x0,y0,x1,y1\n"
    assert Path("drawn/0.png.prediction.png").is_file()


def test_unreadable_images_are_named_and_skipped(checkpoint, capfd):
    Path("coco/val2017/1.png").write_text("no image")
    options = ["--config", "tiny.yaml", *checkpoint, "--json", "out.json", "--coco_results", "coco.json"]
    images = [f"coco/val2017/{name}" for name in SIZES]
    code, out, err = run([*images, *options, "--max_boxes", "1"], capfd)
    assert code == 1 and len(out.splitlines()) == 1 + 4 and "1.png" not in out
    assert [line.partition(":")[0] for line in without_outcome(err).splitlines()][1:] == [
        "skipped"
    ] and "coco/val2017/1.png" in err
    content = json.loads(Path("out.json").read_text())
    assert list(found(content)) == ["0.png", "2.png", "3.png", "4.png"]
    assert [item["file"] for item in content["skipped"]] == ["coco/val2017/1.png"]
    assert {item["image_id"] for item in json.loads(Path("coco.json").read_text())} == {7, 27, 37, 47}
    code, out, err = run(["coco/val2017/1.png", *checkpoint], capfd)
    assert code == 2 and out == "" and err.splitlines()[-1] == "error: none of the 1 files could be read as an image"


def test_outputs_that_are_not_finite(checkpoint, monkeypatch, capfd):
    def diverged(images, *_):
        boxes = np.zeros((len(images), 1, 4), np.float32)
        return boxes, boxes[..., 0], boxes[..., 0].astype(np.int32), np.full(len(images), -1)

    monkeypatch.setattr(open_predictor, "create_detector", lambda *_: Detector(diverged, CARD))
    code, out, err = run(["coco/val2017", *checkpoint, "--json", "out.json"], capfd)
    assert code == 2 and out == "" and err.startswith("error: the network's outputs are not finite: ")
    assert not Path("out.json").exists()


def test_masks_in_all_that_is_written(monkeypatch, capfd):
    """Of a detector that finds the whole image and its left half, each with a mask of its upper half."""

    def upper_halves(images, shapes, scales):
        width, height, nothing = *(shapes[:, ::-1] / scales).T, np.zeros(len(images))
        boxes = np.stack([np.stack([nothing, nothing, share * width, height], 1) for share in (1, 0.5)], 1)
        masks = np.zeros((len(images), 2, 28, 28), np.float32)
        masks[:, :, :14] = 1
        scores, labels = (np.tile(row, (len(images), 1)) for row in (np.float32([0.9, 0.5]), np.int32([1, 0])))
        return boxes.astype(np.float32), scores, labels, np.full(len(images), 2), masks

    write_files(Path())
    save_checkpoint("masks.ckpt", [], CARD)
    monkeypatch.setattr(open_predictor, "create_detector", lambda *_: Detector(upper_halves, CARD))
    options = ["--config", "tiny.yaml", "--checkpoint", "masks.ckpt", "--batch_size", "2"]
    files = ["--json", "out.json", "--csv", "out.csv", "--coco_results", "coco.json", "--draw", "drawn"]
    code, out, _ = run(["coco/val2017", *options, *files], capfd)
    assert code == 0 and len(out.splitlines()) == 1 + 2 * len(SIZES)
    assert Path("out.csv").read_text().splitlines()[0] == "file,label,score,x0,y0,x1,y1"
    content = found(json.loads(Path("out.json").read_text()))
    with contextlib.redirect_stdout(io.StringIO()):
        results = COCO("coco/annotations/instances_val2017.json").loadRes("coco.json")
    for name, (width, height) in SIZES.items():
        entries = results.loadAnns(results.getAnnIds(imgIds=IDS[name]))
        assert [entry["segmentation"] for entry in entries] == [item["segmentation"] for item in content[name]]
        for entry, share in zip(entries, (1, 2), strict=True):
            mask = np.zeros((height, width), bool)
            mask[: height // 2, : width // share] = True
            found_mask = results.annToMask(entry).astype(bool)
            assert (found_mask ^ mask).sum() <= 0.01 * mask.sum() + 4  # at corners, zeros around the map take part
        with Image.open(f"drawn/{name}.prediction.png") as picture, Image.open(f"coco/val2017/{name}") as image:
            factor = -(-SMALLEST // min(width, height))
            drawn, bare = (np.asarray(x)[:, :, 0].astype(int) for x in (picture, image))
            sides = (slice(int(a * height), int(b * height)) for a, b in ((0.2, 0.4), (0.65, 0.85)))
            for rows, changes in zip(sides, (True, False), strict=True):
                place = rows, slice(int(0.7 * width), int(0.8 * width))
                centres = drawn[factor // 2 :: factor, factor // 2 :: factor]
                assert (np.abs(centres[place] - bare[place]).max() > 9) == changes, name


def test_wrong_usage_in_one_line(trained, capfd, tmp_path):
    write_files(Path())
    save_checkpoint("labels.ckpt", [], LABELS)
    Path("other").mkdir()
    Image.new("RGB", (90, 61)).save("other/0.png")
    Image.new("RGB", (90, 60)).save("other/stranger.png")
    Path("box.mindir").write_text("")
    Path("box.mindir.json").write_text(json.dumps({"model": CARD.to_dict()}))
    image, checkpoint = "coco/val2017/0.png", ["--checkpoint", str(trained[0])]
    labels, config = ["--checkpoint", "labels.ckpt"], ["--config", "tiny.yaml"]
    coco = [*checkpoint, *config, "--coco_results", "out.json"]
    before = sorted(tmp_path.rglob("*"))
    for options, expected in [
        ([image, *checkpoint, "--top_k", "5"], f"--top_k is for classifiers, and {trained[0]} holds none: leave it"),
        ([image, *labels, "--max_boxes", "5"], "--max_boxes is for detectors, and labels.ckpt holds none: leave it"),
        ([image, *labels, "--score_threshold", "0.3"], "--score_threshold is for detectors, and labels.ckpt holds"),
        ([image, *labels, "--coco_results", "a.json"], "--coco_results is for detectors, and labels.ckpt holds none"),
        ([image, *labels, *config], "labels.ckpt holds no detector: name a checkpoint of one, or leave"),
        ([image, *checkpoint, "--model", "retinanet_ptnt_s"], "holds retinanet_ptnt_ti, and retinanet_ptnt_s is asked"),
        ([image, *checkpoint, "--score_threshold", "1.1"], "score_threshold is 1.1: expected from 0 to 1"),
        ([image, *checkpoint, "--score_threshold", ".nan"], "score_threshold is NaN: expected from 0 to 1"),
        ([image, *checkpoint, "--max_boxes", "0"], "max_boxes is 0: expected from 1 to 1000"),
        ([image, *checkpoint, "--max_boxes", "1001"], "max_boxes is 1001: expected from 1 to 1000"),
        (
            [image, "--model_file", "box.mindir"],
            "box.mindir.json: its description of the network cannot be used: sha256",
        ),
        ([image, "--model_file", "net.mindir", *config], "net.mindir"),
        ([image, *coco, "--json", "out.json"], "--json and --coco_results are both out.json"),
        ([image, *coco, "--data", "nowhere"], "data folder nowhere does not exist"),
        ([image, "other/stranger.png", *coco], "other/stranger.png is no image of coco/annotations/instances_val2017"),
        (
            [image, "./coco/../other/0.png", *coco],
            "other/0.png and coco/val2017/0.png are one image of coco/annotations",
        ),
    ]:
        code, out, err = run(options, capfd)
        lines = [line for line in err.splitlines() if "matched by name" not in line]
        assert code == 2 and out == "" and len(lines) == 1 and expected in lines[0], (options, err)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_image_of_another_size_than_the_data_sets(checkpoint, capfd):
    Image.new("RGB", (90, 61)).save("coco/val2017/0.png")
    options = ["--config", "tiny.yaml", *checkpoint, "--coco_results", "out.json"]
    code, _, err = run(["coco/val2017/4.png", "coco/val2017/0.png", *options], capfd)
    assert code == 2 and not Path("out.json").exists()
    assert "error: image coco/val2017/0.png is 90 x 61 pixels, but coco/annotations/instances_val2017.json" in err


def test_two_folders_of_a_data_set_have_images_of_one_name(checkpoint, capfd):
    Path("coco/val2017/more").mkdir()
    Path("coco/val2017/0.png").rename("coco/val2017/more/4.png")
    path = Path("coco/annotations/instances_val2017.json")
    path.write_text(path.read_text().replace('"0.png"', '"more/4.png"'))
    options = ["--config", "tiny.yaml", *checkpoint, "--coco_results", "out.json", "--max_boxes", "1"]
    code, _, _ = run(["coco/val2017/more/4.png", "coco/val2017/4.png", *options], capfd)
    assert code == 0 and [item["image_id"] for item in json.loads(Path("out.json").read_text())] == [7, 47]


def test_a_data_set_with_other_categories(checkpoint, capfd):
    path = Path("coco/annotations/instances_val2017.json")
    content = json.loads(path.read_text())
    content["categories"] = content["categories"][:1]
    path.write_text(json.dumps(content))
    options = ["--config", "tiny.yaml", *checkpoint, "--coco_results", "out.json"]
    code, out, err = run(["coco/val2017", *options], capfd)
    assert code == 2 and out == "" and "has no category for labels of" in err and "(dog)" in err
    assert err.count("\n") == 1
