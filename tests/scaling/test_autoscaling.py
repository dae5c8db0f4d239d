"""How many replicas: pure arithmetic."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from embedserve.scaling.autoscaling import QUEUED_TEXTS, BacklogPolicy, desired_replicas
from embedserve.scaling.options import ScaleOptions


@pytest.mark.parametrize(
    ("ongoing", "texts", "replicas"),
    [
        (0, 0, 0),
        (4, 0, 1),
        (1, 2600, 2600 / 240),  # one request of many texts is work for many replicas
        (40, 10, 10),
    ],
)
def test_the_larger_of_requests_and_queued_texts_decides(ongoing, texts, replicas):
    found = desired_replicas(ongoing=ongoing, texts=texts, target_ongoing=4, target_texts=240)
    assert found == pytest.approx(replicas)


def test_the_policy_sums_the_texts_of_all_replicas():
    context = SimpleNamespace(
        aggregated_metrics={QUEUED_TEXTS: {"a": 300.0, "b": 420.0}},
        total_num_requests=2,
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 4),
    )
    assert BacklogPolicy(target_queued_texts=240)(context) == (3.0, {})


def test_a_replica_that_reports_nothing_yet_counts_as_empty():
    context = SimpleNamespace(
        aggregated_metrics=None, total_num_requests=4, config=SimpleNamespace(get_target_ongoing_requests=lambda: 4)
    )
    assert BacklogPolicy(target_queued_texts=240)(context) == (1.0, {})


def test_options_are_read_as_the_words_of_serve_run_and_wrong_ones_are_named():
    options = ScaleOptions.model_validate({"models": "a, b,a", "cpus": "2", "min_replicas": "0"})
    assert (options.model_names, options.threads) == (["a", "b"], 2)
    for wrong in ({"modls": "a"}, {"min_replicas": 3}, {"models": " , "}, {"cpus": 0}):
        with pytest.raises(ValidationError):
            ScaleOptions.model_validate(wrong)
