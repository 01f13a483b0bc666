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


def test_notes_of_another_training_are_refused(tmp_path):
    path = str(tmp_path / "notes.json")
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({"history": [{"loss": 0.5}], "settings": {}}, stream)
    assert reports.read_notes(path, ["loss"])["history"] == [{"loss": 0.5}]
    with pytest.raises(ValueError, match="not those of such a training"):
        reports.read_notes(path, ["loss", "held_out"])
