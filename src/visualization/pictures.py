"""All pictures of a trained network, drawn into a folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import Config
from ..data.labels import match_labels
from ..data.relabeled import Relabeled
from ..devices.ranks import Ranks
from ..errors import UserError, printable
from ..prediction.class_features import collect_features
from ..tasks.classification import create_eval_loader, open_to_judge
from ..tasks.classification_scores import softmax
from ..tasks.trained_network import TrainedNetwork
from .attention_figures import draw_attention, draw_rollout, draw_words
from .embedding import Thinned, draw_embedding, embed
from .feature_figures import choose_blocks, draw_features, principal_colors
from .input_images import InputImage
from .picture_folder import PictureFolder
from .position_figures import draw_positions, position_tables
from .report import Report, ReportImage, build_report
from .rollout import rollout
from .taps import TOKEN_LAYERS, Taps, record

NUM_LABELS = 3


def draw_images(
    trained: TrainedNetwork,
    images: Sequence[InputImage],
    folder: PictureFolder,
    point: tuple[float, float] | None,
    block_numbers: Sequence[int] | None,
    checkpoint: Path,
) -> Report:
    """Draws attention, rolled out attention, words and features of each image, the position tables, and report.html.

    Args:
        trained: the network.
        images: prepared for it.
        folder: where to.
        point: (x, y), shares of width and height, in the sentence that looks; None: the class token, or the mean over
            all sentences, and for words the sentence in the middle.
        block_numbers: blocks whose features are drawn, see `choose_blocks`.
        checkpoint: named in the report.

    Raises:
        UserError: a point outside the image, a block that the network does not have, logits that are not finite, or a
            file that cannot be written.
    """
    if point is not None and not all(0 <= share <= 1 for share in point):
        raise UserError(f"point: expected [x, y], shares of width and height from 0 to 1, got {list(point)}")
    taps = record(trained.net, np.stack([image.values for image in images]))
    if not np.isfinite(taps.logits).all():
        raise UserError("the network's outputs are not finite: its weights are damaged or its training diverged")
    model, (height, width) = trained.card.model, trained.card.image_size
    pixel = None if point is None else (point[0] * width, point[1] * height)
    middle = (width / 2, height / 2) if pixel is None else pixel
    looking = _who_looks(taps, point)
    blocks = taps.blocks()
    shares = rollout(blocks)
    chosen = choose_blocks(blocks, block_numbers)
    drawn = [*(layer for layer in taps.layers if layer.group == TOKEN_LAYERS), *chosen]
    colors = [principal_colors(layer.maps()) for layer in drawn]
    groups = dict.fromkeys(layer.group for layer in taps.layers if layer.attention is not None)
    for index, image in enumerate(images):
        start, name = f"{index + 1}_{image.name}", f"{model}, {image.name}"
        for group in groups:
            ending = "" if group == "blocks" else f"_{group.replace(' ', '_')}"
            who = looking if group != TOKEN_LAYERS or point is not None else "the mean over all tokens"
            figure = draw_attention(taps, group, index, image.pixels, f"{name}: where {who} looks", pixel)
            folder.draw(f"{start}/attention{ending}.png", figure)
        title = f"{name}: where {looking} looks, rolled out over blocks"
        folder.draw(f"{start}/rollout.png", draw_rollout(blocks, shares, index, image.pixels, title, pixel))
        if any(layer.inner_attention is not None for layer in taps.layers):
            title = f"{name}: where each word of the framed sentence looks"
            folder.draw(f"{start}/words.png", draw_words(taps, index, image.pixels, title, middle))
        figure = draw_features(drawn, colors, index, image.pixels, f"{name}: features")
        folder.draw(f"{start}/features.png", figure)
    folder.draw("positions.png", draw_positions(position_tables(trained.net), f"{model}: position tables"))
    report = build_report(
        f"Attention of {model}",
        f"Weights: {printable(str(checkpoint))}. Image size {height} × {width} pixels.",
        taps,
        [ReportImage(image.name, image.pixels, top) for image, top in zip(images, _labels(taps, trained), strict=True)],
    )
    folder.write("report.html", report.page)
    return report


def draw_class_features(
    trained: TrainedNetwork, config: Config, folder: PictureFolder, method: str, most_images: int
) -> str:
    """The class features of validation images as points, in embedding.png, where their classes are the network's.

    Args:
        trained: the network.
        config: names the data.
        folder: where to.
        method: one of `METHODS`.
        most_images: that many, evenly spread over the data, where there are more.

    Returns:
        A line for the user: what was drawn, or why nothing was.

    Raises:
        UserError: the data cannot be read, or there are too few images.
    """
    if most_images < 1:
        raise UserError(f"embedding_images: expected at least 1, got {most_images}")
    dataset, lines = open_to_judge(config, trained)
    try:
        match = match_labels(trained.card.classes, dataset.classes, "the checkpoint")
    except UserError:
        return (
            f"left out embedding.png: the configuration's data has other classes than {trained.card.model}; "
            "name its labelled images with --data DIR"
        )
    thinned = Relabeled(Thinned(dataset, most_images), match.classes, match.outputs)
    loader = create_eval_loader(config, trained.card, thinned, Ranks())
    features, labels, _ = collect_features(trained.net, loader)
    title = f"{trained.card.model}: class features of {len(labels):,} validation images, {method}"
    points = embed(features, method, config.seed)
    folder.draw("embedding.png", draw_embedding(points, labels, match.classes, title))
    return "; ".join([f"embedding.png shows {len(labels):,} validation images", *lines])


def _who_looks(taps: Taps, point: tuple[float, float] | None) -> str:
    if point is not None:
        return f"the sentence at {point[0]:.0%} of the width and {point[1]:.0%} of the height"
    return "the class token" if taps.blocks()[0].num_prefix_tokens else "the mean over all sentences"


def _labels(taps: Taps, trained: TrainedNetwork) -> list[list[tuple[str, float]]]:
    """The most probable labels of each image."""
    tops = []
    for probabilities in softmax(taps.logits):
        order = np.argsort(-probabilities, kind="stable")[:NUM_LABELS]
        tops.append([(trained.card.classes[index], float(probabilities[index])) for index in order])
    return tops
