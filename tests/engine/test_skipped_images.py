"""Every skipped image is named once, and counted once."""

from types import SimpleNamespace

from src.devices.ranks import Exchange, Ranks
from src.engine.skipped_images import NAMED_AT_ONCE, SkippedImages


def test_names_and_count():
    lines = []
    train, val = SimpleNamespace(bad_images={7: "a.jpg: empty"}), SimpleNamespace(bad_images={7: "b.jpg: empty"})
    skipped = SkippedImages(train, val, exchange=Exchange(Ranks()), tell=lines.append)
    skipped.name()
    assert lines == ["skipped: a.jpg: empty", "skipped: b.jpg: empty"] and skipped.count() == 2
    train.bad_images[9] = "c.jpg: broken"
    skipped.name()
    assert lines[2:] == ["skipped: c.jpg: broken"] and skipped.count() == 3
    skipped.name()
    assert len(lines) == 3


def test_many_are_not_all_named():
    lines = []
    loader = SimpleNamespace(bad_images={index: f"{index}.jpg" for index in range(NAMED_AT_ONCE + 5)})
    SkippedImages(loader, exchange=Exchange(Ranks()), tell=lines.append).name()
    assert len(lines) == NAMED_AT_ONCE + 1 and lines[-1] == "skipped: 5 more"
