"""Features of images: python features.py [IMAGE_OR_FOLDER...] --checkpoint FILE --npz features.npz [--knn 20]"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.data.image_files import ImageFiles
from src.engine.run_folder import RunFolder
from src.errors import UserError, counted
from src.files.output_file import check_output_file
from src.prediction.class_features import features_of, write_features
from src.prediction.feature_scores import check_neighbours, score_lines
from src.prediction.predictions import find_images
from src.tasks.classification import open_split, open_to_judge
from src.tasks.trained_network import open_trained_network
from src.terminal.outcome import next_line, next_step, same_run, written_line
from src.terminal.progress import print_line


@dataclass
class FeatureOptions:
    """Of which images, from which weights, and what for.

    Args:
        images: image files, and folders that are searched for images; the configuration's data when left out.
        checkpoint: file with the weights; the run's best checkpoint when null.
        split: of the configuration's data, to write features of; val when null.
        npz: file to write features (n, D), files, labels and classes to.
        knn: print the accuracy of so many nearest neighbours, train split against val split.
        linear_probe: print the accuracy of logistic regression, train split against val split.
    """

    images: list[str] = field(default_factory=list, metadata={"positional": True})
    checkpoint: str | None = None
    split: Literal["train", "val"] | None = None
    npz: str | None = None
    knn: int | None = field(default=None, metadata={"range": (1, 1000)})
    linear_probe: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when an image had to be skipped."""
    config, options, name, given = parse_command_line(
        "features.py", "Writes what a network's head is applied to, or scores it.", FeatureOptions, argv
    )
    measures = options.knn is not None or options.linear_probe
    if options.npz is None and not measures:
        raise UserError("there is nothing to do: give --npz FILE, --knn K or --linear_probe")
    if options.images and (measures or options.split is not None):
        raise UserError("--split, --knn and --linear_probe are for the configuration's data: leave the images out")
    if options.npz is not None:
        check_output_file(options.npz, ".npz")
    checkpoint = RunFolder(config.output, name).choose_checkpoint(options.checkpoint)
    files, problems = find_images(options.images)
    for problem in problems:
        print_line(f"skipped: {problem.reason}", to_stderr=True)
    if options.images and not files:
        raise UserError("there is no image to look at")
    trained = open_trained_network(checkpoint, config, given)
    for line in (f"{trained.settings[0]}; {trained.card.model} from {checkpoint}", *trained.changes):
        print_line(line)
    if files:
        config.data.on_bad_image = "skip"
        written, datasets = "images", {"images": ImageFiles(files, trained.card.classes)}
    else:
        written = options.split or "val"
        datasets = {"train": open_split(config, "train")} if measures or written == "train" else {}
        if measures or written == "val":
            datasets["val"], lines = open_to_judge(config, trained)
            for line in lines:
                print_line(line)
    if options.knn is not None:
        check_neighbours(options.knn, len(datasets["train"]))

    batch_size = min(config.train.batch_size, max(map(len, datasets.values())))
    found = {
        kind: features_of(trained, config, dataset, batch_size, lambda line: print_line(line, to_stderr=True))
        for kind, dataset in datasets.items()
    }
    if measures:
        for line in score_lines(found["train"], found["val"], options.knn, options.linear_probe):
            print(line)
    if options.npz is not None:
        write_features(options.npz, found[written])
        count, width = found[written].features.shape
        print_line(written_line(options.npz, f"{width} features of {counted(count, 'image')}"))
        print_line(next_step(f"numpy.load({options.npz!r}) in Python, see docs/features.md"))
    else:
        print_line(next_line("features.py", *same_run(given), "--checkpoint", checkpoint, "--npz", "features.npz"))
    skipped = sum(len(datasets[kind]) - len(found[kind].labels) for kind in datasets)
    return 1 if skipped or problems else 0


if __name__ == "__main__":
    run_command(main)
