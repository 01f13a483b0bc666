"""Counts, the table by class that is made of them, and the notes of a training."""
import json

import numpy as np
import pytest

from support import reports


def test_a_class_without_mistakes_is_taken_for_none():
    counts = reports.confusion_matrix([0, 0, 1, 1], np.array([0, 0, 1, 0]), classes=2)
    assert counts.tolist() == [[2, 0], [1, 1]] and reports.accuracy(counts) == 0.75
    _, first, second = reports.class_table(counts, ["Pull", "Coat"])
    assert first.endswith(" -") and second.endswith("Pull (1)")
    text = reports.class_report([0, 0, 1, 1], np.array([0, 0, 1, 0]), ["Pull", "Coat"], "test")
    assert text.endswith("\n\nTest accuracy: 75.00 % (1 of 4 are wrong)")


@pytest.mark.parametrize("content", (
    [], {"history": [1], "settings": {}}, {}, {"history": [{}], "settings": {}},
    {"history": []}, {"history": [], "settings": 1}), ids=str)
def test_notes_of_something_else_are_refused(tmp_path, content):
    (tmp_path / "notes.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="notes of a training"):
        reports.read_notes(str(tmp_path / "notes.json"), ["loss"])
