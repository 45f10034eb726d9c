import pytest

from src.loggers.metric_groups import format_groups, group_metrics


@pytest.mark.parametrize(
    ("name", "group", "shown"),
    [
        ("val/note_velocity_mae_jnd", "note_velocity", "val mae_jnd"),
        ("val/note_velocity_mae_percent", "note_velocity", "val mae_percent"),
        ("train/log10_decay_time_mae", "log10_decay_time", "train mae"),
        ("test/note_velocity_jnd", "note_velocity", "test jnd"),
        ("val/digit_acc", "digit", "val acc"),
        ("val/jnd", "all", "val jnd"),
        ("val/mae_jnd", "all", "val mae_jnd"),
        ("val/mae_best", "all", "val mae_best"),
        ("train/loss_step", "all", "train loss_step"),
        ("lr-Adam", "all", "lr-Adam"),
        ("val/other", "all", "val/other"),
    ],
)
def test_names_are_taken_apart(name: str, group: str, shown: str) -> None:
    assert group_metrics({name: 1.5})[group] == {shown: 1.5}


def test_training_comes_first_and_empty_groups_are_left_out() -> None:
    lines = format_groups({"all": {}, "level": {"val jnd": 1.0, "train jnd": 0.5}})
    assert lines == {"level": "train jnd 0.5  val jnd 1"}


def test_many_heads_are_counted() -> None:
    groups = group_metrics({f"val/head{i}_mae": i for i in range(20)})
    lines = format_groups(groups, max_heads=3)
    assert list(lines) == ["head0", "head1", "head2", "..."]
    assert lines["..."] == "and 17 more heads"
