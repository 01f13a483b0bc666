"""Counts, and the table by class that is made of them."""
import json

import numpy as np
import pytest
from support import reports


def test_a_class_without_mistakes_is_taken_for_none():
    counts = reports.confusion_matrix([0, 0, 1, 1], np.array([0, 0, 1, 0]), classes=2)
    assert counts.tolist() == [[2, 0], [1, 1]] and reports.accuracy(counts) == 0.75
    _, first, second = reports.class_table(counts, ["Pull", "Coat"])
    assert first.endswith(" -") and second.endswith("Pull (1)")


@pytest.mark.parametrize("content", ([], {"history": []}, {"history": [1]}, {}, {"history": [{}]}), ids=str)
def test_a_history_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "h.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="history"):
        reports.read_history(str(tmp_path / "h.json"), ["loss"])
