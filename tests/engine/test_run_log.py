"""When a run's curves are drawn."""

from types import SimpleNamespace

import pytest

from src.engine import run_log
from src.engine.run_folder import RunFolder
from src.engine.run_log import RunLog
from src.tasks.classification_scores import SCORE_KINDS
from src.tasks.scores import Scores


@pytest.mark.parametrize("seconds_of_an_epoch,drawn", [(30, [1, 2, 3, 4, 5]), (4, [1, 4, 5]), (0.01, [1, 5])])
def test_curves_are_drawn_at_the_end_and_where_that_takes_little_of_the_time(
    seconds_of_an_epoch, drawn, tmp_path, monkeypatch
):
    """Drawing takes half a second here."""
    now, drawings = 100.0, []

    def draw(entries, kinds, path):
        nonlocal now
        now += 0.5
        drawings.append(len(entries))

    monkeypatch.setattr(run_log, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(run_log, "draw_curves", draw)
    folder = RunFolder(tmp_path, "run")
    folder.path.mkdir()
    log = RunLog(folder, 5, 1, 8, ["loss"], SCORE_KINDS, tensorboard=False)
    for step in range(1, 6):
        now += seconds_of_an_epoch
        log.evaluation(step, Scores(SCORE_KINDS, (1.0,) * len(SCORE_KINDS), 8), None, 1.0)
    log.close()
    log.close()
    assert drawings == drawn


def test_a_run_without_an_evaluation_draws_nothing(tmp_path):
    folder = RunFolder(tmp_path, "run")
    RunLog(folder, 5, 1, 8, ["loss"], SCORE_KINDS, tensorboard=False).close()
    assert not folder.curves.exists()
