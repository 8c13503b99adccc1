"""Measures how many images a second the data pipeline delivers, beside a bare loop that does the same work.

    python benchmarks/data_throughput.py

JPEGs of 500 x 375 pixels, like photos in detail and size, are made in a temporary folder, for two kinds of work also
some of 2000 x 1500, as cameras write them, and of 640 x 480, as COCO has them. What is measured is the way to the input
of a network, 224 x 224, or of a detector, 800 x 1344:

- evaluation: decode, resize, centre crop, normalise;
- plain training: decode, random crop, flip, normalise;
- full recipe: also RandAugment (rand-m9-mstd0.5-inc1), mixup 0.8 or cutmix 1.0, random erasing 0.25;
- large photos: the full recipe on the large ones, which the bare loop decodes as a whole;
- detection: decode, resize to 800 x 1066, flip, normalise, pad.

The pipeline is the loader of training or evaluation with its worker processes; what counts are images in batches that
have gone into a compiled graph, which reads one pixel of each. The bare loop is as many processes, each of which does
the same to one image (with mixing: two) after the other and throws the result away: no order, no batches, nothing
handed over, and one random stream. It computes with Pillow and NumPy alone, as any Python program would, without the
project's compiled code. It is measured twice: as any Python program runs, and with the allocator settings of the
pipeline's workers ("tuned"), which save page faults. All run in turns, several times; the table has the medians. The
files stay in the system's cache, so no disk is measured.

Only figures from an otherwise idle machine mean anything.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from src.data.box_transforms import DetectionTransform
from src.data.coco import Coco
from src.data.detection_loader import DetectionTrainLoader
from src.data.listed_images import ListedImages
from src.data.loader import EvalLoader, TrainLoader, num_threads
from src.data.mixup import Mixing, mix_images
from src.data.random_erasing import RandomErasing
from src.data.read_image import read_image
from src.data.shared_batches import WORKER_ENVIRONMENT
from src.data.transforms import EvalTransform, TrainTransform
from src.errors import counted
from src.files.compiled_library import SWITCH
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.terminal.command import run_command

SIZES = {"photos": (500, 375), "large": (2000, 1500), "coco": (640, 480)}
"""Folder -> (width, height) of its JPEGs."""
SMALLEST = 500 * 375
"""Pixels; of larger JPEGs fewer are made."""
QUALITY = 90
OCTAVES, ROUGHNESS = 8, 0.85
"""Noise of 2 x 2, 4 x 4 ... cells; each octave has this times the contrast of the one before, as a photo of a medium
amount of detail: about 75 kB a file."""
NUM_CLASSES = 1000

INPUT = {"image_size": 224, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "in_channels": 3}
CROP = {"crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "flip_prob": 0.5, "color_jitter": 0.0}
MIXING = {"label_smoothing": 0.1, "mix_prob": 1.0, "mix_switch_prob": 0.5}
PLAIN = {"rand_augment": None, "erase_prob": 0.0, "mixup": 0.0, "cutmix": 0.0}
FULL = {"rand_augment": "rand-m9-mstd0.5-inc1", "erase_prob": 0.25, "mixup": 0.8, "cutmix": 1.0}
DETECTION = {
    "canvas": (800, 1344),
    "short_sides": [800],
    "long_side": 1333,
    "flip_prob": 0.5,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}
_all_ready: Barrier  # of the processes of a bare loop

KINDS = {
    "evaluation": "photos",
    "plain training": "photos",
    "full recipe": "photos",
    "large photos": "large",
    "detection": "coco",
}
"""Kind of work -> folder of its JPEGs."""

OF_DETECTION = 10
"""Times fewer images are timed of it, because each is twenty times as large."""
DETECTOR_BATCH = 2


def make_images(folder: Path, count: int) -> None:
    """Writes `count` JPEGs of the size that the folder's name stands for."""
    folder.mkdir()
    width, height = SIZES[folder.name]
    for number in range(count):
        rng = np.random.default_rng(number)
        channels = []
        for _ in range(3):
            values = np.zeros((height, width), np.float32)
            for octave in range(1, OCTAVES + 1):
                cells = rng.standard_normal((2**octave, 2**octave), dtype=np.float32)
                layer = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
                values += np.asarray(layer) * ROUGHNESS**octave
            channels.append((values - values.mean()) / values.std() * 55 + 120)
        pixels = np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.jpg", quality=QUALITY)


def open_repeated(files: Sequence[Path], length: int) -> ListedImages:
    """A data set of `length` images, each of the files again and again, so that an epoch lasts."""
    names = [files[i % len(files)].name for i in range(length)]
    labels = [i % NUM_CLASSES for i in range(length)]
    return ListedImages(files[0].parent, names, labels, [str(label) for label in range(NUM_CLASSES)], "this benchmark")


def open_annotated(files: Sequence[Path], length: int) -> Coco:
    """The same for detection; one object in each image."""
    width, height = SIZES["coco"]
    images = [
        {"id": i, "file_name": files[i % len(files)].name, "width": width, "height": height} for i in range(length)
    ]
    box = {"category_id": 1, "bbox": [10, 10, 100, 100], "area": 10000, "iscrowd": 0}
    annotations = [{"id": i, "image_id": i, **box} for i in range(length)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    folder = files[0].parent
    file = folder.with_name(f"{folder.name}_{length}.json")
    write_json(file, content)
    return Coco(folder.parent, "train", file.name, folder.name, for_training=True)


def create_step() -> Callable[..., Any]:
    """A graph that takes batches as a step of training does, and does as good as nothing with them."""
    import mindspore as ms  # here: the processes of the bare loop do without
    from mindspore import nn

    class FirstPixels(nn.Cell):
        def construct(self, *arrays):
            return arrays[0][:, 0, 0, 0], arrays[1:]

    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    net = FirstPixels()
    return lambda *batch: net(*map(ms.Tensor.from_numpy, batch))[0].asnumpy()


def pipeline_rate(
    kind: str, files: Sequence[Path], workers: int, batch_size: int, count: int, step: Callable[..., Any]
) -> float:
    """Images a second that have gone through `step` in batches, after the first ones."""
    if kind == "detection":
        batch_size = min(batch_size, DETECTOR_BATCH)
    length = count + 4 * batch_size
    open_files = open_annotated if kind == "detection" else open_repeated
    dataset: Any = open_files(files, length)
    if kind == "detection":
        loader: Any = DetectionTrainLoader(dataset, **DETECTION, batch_size=batch_size, seed=0, workers=workers)
        batches = loader.epoch(0)
    elif kind == "evaluation":
        loader = EvalLoader(dataset, **INPUT, batch_size=batch_size, crop_pct=0.9, workers=workers)
        batches = ((images, labels) for (images,), (labels, *_), _ in loader)
    else:
        recipe = {**CROP, **MIXING, **(PLAIN if kind == "plain training" else FULL)}
        loader = TrainLoader(dataset, **INPUT, **recipe, batch_size=batch_size, seed=0, repeats=1, workers=workers)
        batches = loader.epoch(0)
    for batch in islice(batches, 3):  # while the workers start, and what was ready before the clock
        step(*batch)
    begin = time.perf_counter()
    arrived = sum(len(step(*batch)) for batch in islice(batches, -(-count // batch_size)))
    rate = arrived / (time.perf_counter() - begin)
    batches.close()
    loader.close()
    return rate


def bare_rate(kind: str, files: Sequence[Path], processes: int, count: int, is_tuned: bool = False) -> float:
    """Images a second of bare loops in `processes` processes side by side."""
    context = get_context("spawn")
    barrier = context.Barrier(processes)
    with (
        patch.dict(os.environ, {SWITCH: "0", **(WORKER_ENVIRONMENT if is_tuned else {})}),  # new processes inherit it
        ProcessPoolExecutor(processes, context, initializer=_meet_at, initargs=(barrier,)) as pool,
    ):
        shares = [pool.submit(bare_loop, kind, files[i::processes], count // processes) for i in range(processes)]
        return sum(share.result() for share in shares)


def _meet_at(barrier: Barrier) -> None:
    global _all_ready
    _all_ready = barrier


def bare_loop(kind: str, files: Sequence[Path], count: int) -> float:
    """Images a second of one process, which starts to measure when all of them are ready."""
    steps = _steps(kind, cycle(files))
    for _ in islice(steps, 10):
        pass
    _all_ready.wait()
    begin = time.perf_counter()
    done = 0
    while done < count:
        done += next(steps)
    return done / (time.perf_counter() - begin)


def _steps(kind: str, files: Iterator[Path]) -> Iterator[int]:
    """Does the work, and yields after every step how many images it was."""
    rng = np.random.default_rng(0)
    if kind == "detection":
        place, box = DetectionTransform(**DETECTION), np.array([[10, 10, 110, 110]], np.float32)
        for file in files:
            place(read_image(file), box, rng)
            yield 1
    if kind == "evaluation":
        transform = EvalTransform(**INPUT, crop_pct=0.9)
        for file in files:
            transform(read_image(file))
            yield 1
    recipe = PLAIN if kind == "plain training" else FULL
    augment = TrainTransform(**INPUT, **CROP, rand_augment=recipe["rand_augment"])
    mixing = Mixing(
        mixup_alpha=recipe["mixup"],
        cutmix_alpha=recipe["cutmix"],
        probability=MIXING["mix_prob"],
        switch_probability=MIXING["mix_switch_prob"],
        label_smoothing=MIXING["label_smoothing"],
        num_classes=NUM_CLASSES,
    )
    erase = RandomErasing(recipe["erase_prob"])
    while not mixing.enabled:
        erase(augment.normalize(augment(read_image(next(files)), rng)), rng)
        yield 1
    while True:
        first, second = (augment(read_image(next(files)), rng) for _ in range(2))
        mix = mixing.draw(rng, augment.size)
        for image, partner in ((first, second), (second, first)):
            erase(augment.normalize(mix_images(image, partner, mix)), rng)
        yield 2


def _table(rates: dict[str, dict[str, float]], workers: int) -> list[str]:
    lines = [f"{'':16}{'pipeline':>12}{'per core':>10}{'bare loop':>12}{'ratio':>8}{'tuned loop':>12}{'ratio':>8}"]
    for kind, rate in rates.items():
        pipeline, bare, tuned = rate["pipeline"], rate["bare"], rate["tuned"]
        lines.append(
            f"{kind:16}{pipeline:>12.0f}{pipeline / workers:>10.0f}{bare:>12.0f}{pipeline / bare:>8.2f}"
            f"{tuned:>12.0f}{pipeline / tuned:>8.2f}"
        )
    return lines


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="data_throughput.py", description="Images a second of the data pipeline, beside a bare loop."
    )
    parser.add_argument("--workers", type=_positive, default=2, help="processes of each (default 2)")
    parser.add_argument("--batch_size", type=_positive, default=64, help="images a batch (default 64)")
    parser.add_argument("--files", type=_positive, default=300, help="JPEGs that are made (default 300)")
    parser.add_argument(
        "--images", type=_positive, default=2000, help="images that are timed in a round (default 2000)"
    )
    parser.add_argument("--rounds", type=_positive, default=3, help="measurements of each (default 3)")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    if options.json is not None:
        check_output_file(options.json)
    workers = num_threads(options.workers)
    all_rates: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    with tempfile.TemporaryDirectory() as name:
        files, sizes = {}, {}
        for folder, (width, height) in SIZES.items():
            make_images(Path(name) / folder, max(1, options.files // (width * height // SMALLEST)))
            files[folder] = sorted((Path(name) / folder).iterdir())
            sizes[folder] = statistics.mean(file.stat().st_size for file in files[folder])
            made = counted(len(files[folder]), "JPEG")
            print(f"{made} of {width} x {height} pixels, {sizes[folder] / 1000:.0f} kB each", flush=True)
        bare = partial(bare_rate, processes=workers)
        measures: dict[str, Callable[..., float]] = {
            "bare": bare,
            "tuned": partial(bare, is_tuned=True),
            "pipeline": partial(
                pipeline_rate,
                workers=workers,
                batch_size=options.batch_size,
                step=create_step(),
            ),
        }
        for number in range(options.rounds):
            for kind in KINDS:
                count = -(-options.images // OF_DETECTION) if kind == "detection" else options.images
                for which, measure in measures.items():
                    rate = measure(kind, files[KINDS[kind]], count=count)
                    all_rates[kind].setdefault(which, []).append(rate)
                    print(f"round {number + 1}, {kind}, {which}: {rate:.0f} images/s", flush=True)
    medians = {
        kind: {which: statistics.median(rates) for which, rates in both.items()} for kind, both in all_rates.items()
    }
    print(
        f"\nimages/s of {workers} processes, batches of {options.batch_size}, "
        f"{os.cpu_count()} cores, Pillow {Image.__version__}, median of {options.rounds}\n"
    )
    print("\n".join(_table(medians, workers)))
    if options.json is not None:
        content = {"workers": workers, "batch_size": options.batch_size, "file_bytes": sizes, "rates": all_rates}
        write_json(options.json, {**content, "medians": medians})


if __name__ == "__main__":
    run_command(main)
