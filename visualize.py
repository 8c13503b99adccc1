"""Draws what a trained network looks at: python visualize.py [IMAGE_OR_FOLDER...] [--checkpoint FILE]"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.config import parse_command_line  # isort: skip
from src.engine.run_folder import RunFolder
from src.errors import counted
from src.tasks.trained_network import open_trained_network
from src.terminal.outcome import next_step, written_line
from src.terminal.progress import print_line
from src.visualization.detector_figures import draw_detector
from src.visualization.input_images import DIGITS, load_images
from src.visualization.picture_folder import PictureFolder
from src.visualization.pictures import draw_class_features, draw_images
from src.weights.checkpoint import read_checkpoint
from src.weights.detector_card import DetectorCard


@dataclass
class VisualizeOptions:
    """What to draw, and from which weights.

    Args:
        images: image files, and folders that are searched for images; the word digits, which is the default, stands for
            five held-out handwritten digits. For a detector names of validation images, the first five when left out.
        checkpoint: file with the weights; the run's best checkpoint when null.
        folder: folder for the pictures; pictures/ in the run's folder when null.
        blocks: numbers of the blocks whose features are drawn, from 1; the first, the middle and the last when empty.
        point: where the sentence lies that looks, [x, y] as shares of width and height; when null the class token, or
            the mean over all sentences where there is none.
        embedding: how class features of the configuration's validation images become points; none leaves them out.
        embedding_images: how many of these images, evenly spread over the classes.
    """

    images: list[str] = field(default_factory=lambda: [DIGITS], metadata={"positional": True})
    checkpoint: str | None = None
    folder: str | None = None
    blocks: list[int] = field(default_factory=list, metadata={"range": (1, 1000)})
    point: tuple[float, float] | None = field(default=None, metadata={"range": (0, 1)})
    embedding: Literal["tsne", "pca", "none"] = "tsne"
    embedding_images: int = field(default=1000, metadata={"range": (1, 10**6)})


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when an image had to be skipped."""
    config, options, name, given = parse_command_line(
        "visualize.py", "Draws attention, features and positions of a trained network.", VisualizeOptions, argv
    )
    run_folder = RunFolder(config.output, name)
    checkpoint = run_folder.choose_checkpoint(options.checkpoint)
    folder = PictureFolder(run_folder.path / "pictures" if options.folder is None else options.folder)
    content = read_checkpoint(checkpoint)
    if isinstance(content.card, DetectorCard):
        names = [name for name in options.images if name != DIGITS]
        for line in draw_detector(content, config, given, names, folder):
            print_line(line)
        content = "score maps and assigned anchors of validation images"
        print_line(written_line(folder.path, f"{counted(folder.count, 'file')}: {content}"))
        print_line(next_step(f"look at {folder.path}"))
        return 0
    trained = open_trained_network(checkpoint, config, given)
    for line in (f"{trained.settings[0]}; {trained.card.model} from {checkpoint}", *trained.changes):
        print_line(line)
    images, skipped = load_images(options.images, trained.card)
    for problem in skipped:
        print_line(f"skipped: {problem.reason}", to_stderr=True)
    report = draw_images(trained, images, folder, options.point, options.blocks or None, checkpoint)
    if options.embedding != "none":
        print_line(draw_class_features(trained, config, folder, options.embedding, options.embedding_images))
    if report.num_images < len(images):
        print(f"report.html holds the first {report.num_images} of {len(images)} images, more would make it too large")
    print_line(written_line(folder.path, counted(folder.count, "file")))
    print_line(next_step(f"open {folder.path / 'report.html'} in a browser"))
    return 1 if skipped else 0


if __name__ == "__main__":
    run_command(main)
