"""Scores as lines for users."""

from src.tasks.scores import ScoreKind, Scores

KINDS = (ScoreKind("ap", "AP", "%"), ScoreKind("ap_large", "AP large", "%"), ScoreKind("loss", "loss", is_loss=True))


def test_what_cannot_be_judged_is_a_dash():
    scores = Scores(KINDS, (72.5, -1.0, 0.25), 100)
    assert str(scores) == "AP 72.50 %, AP large -, loss 0.2500 over 100 images"
    assert scores.to_dict() == {"ap": 72.5, "ap_large": -1.0, "loss": 0.25, "images": 100}
