"""What an interrupted run resumes from: the same bits, the same settings, one process at a time."""
import glob
import os

import numpy as np
import pytest

from support import checkpoint, run_state
from support.console import Interrupted, UserError
from support.run_state import RunState, Saved
from support.tf1 import tf


@pytest.fixture
def session():
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
        tf.get_variable("w", initializer=tf.random.normal([50], seed=1))
        session.saver = tf.train.Saver()
        session.run(tf.global_variables_initializer())
        yield session


def save(state, session, step):
    session.run(tf.global_variables()[0].assign(np.full(50, 0.1 * step, np.float32)))
    state.save(session, session.saver, Saved(step, {"sum": 0.1 * step}, {"order": np.arange(step)}))


SETTINGS = {"seed": 1, "widths": (1, 2)}


def test_a_run_resumes_from_the_newest_state_that_is_not_damaged_and_deletes_none(
        tmp_path, session, capsys):
    state = RunState(str(tmp_path), SETTINGS)
    for step in 1, 2, 4:
        save(state, session, step)
    os.mkdir(os.path.join(state.folder, "step-00000004 2"))  # a sync tool's copy is no state
    assert state.steps() == [4, 2]
    newest, = glob.glob(os.path.join(state.folder, "step-00000004", "*.data*"))
    os.truncate(newest, 10)
    saved = state.resume(session, session.saver)
    assert (saved.step, saved.notes) == (2, {"sum": 0.2}) and newest in capsys.readouterr().out
    assert saved.arrays["order"].tolist() == [0, 1] and state.steps() == [4, 2]
    weights = session.run(tf.global_variables()[0])
    assert weights.tobytes() == np.full(50, 0.2, np.float32).tobytes()
    save(state, session, 3)  # the damaged one is not counted among the states that are kept
    assert state.steps() == [3, 2]
    state.clear()
    assert state.resume(session, session.saver) is None


def test_with_damaged_states_only_nothing_is_overwritten_without_fresh(tmp_path, session):
    state = RunState(str(tmp_path), SETTINGS)
    save(state, session, 1)
    data, = glob.glob(os.path.join(state.folder, "step-00000001", "*.data*"))
    os.truncate(data, 10)
    with pytest.raises(UserError, match="--fresh starts over"):
        state.resume(session, session.saver)
    assert state.steps() == [1]
    assert state.finished(fresh=True) is None and state.steps() == []


@pytest.mark.parametrize("failing", ["pathlib.Path.read_bytes", "numpy.load",
                                     "tensorflow.compat.v1.train.Saver.restore"])
@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(),
                                   tf.errors.UnknownError(None, None, "Input/output error")],
                         ids=lambda error: type(error).__name__)
def test_a_passing_error_is_not_taken_for_damage(
        tmp_path, session, monkeypatch, capsys, failing, error):
    def fail(*arguments, **options):
        raise error

    state = RunState(str(tmp_path), SETTINGS)
    save(state, session, 1)
    save(state, session, 2)
    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        with pytest.raises((type(error), UserError)) as raised:
            state.resume(session, session.saver)
    assert "--fresh" not in str(raised.value) and "another network" not in str(raised.value)
    assert getattr(raised.value, "problem", "unreadable") == "unreadable"
    assert capsys.readouterr().out == "" and state.steps() == [2, 1]
    assert state.resume(session, session.saver).step == 2


def finish(folder, session, interrupts=()):
    """Train a run of three steps to its end, `interrupts` having come during the last."""
    state, history = RunState(folder, SETTINGS, steps=3, save_every=1000), [{"loss": 0.5}]
    assert state.resume(session, session.saver) is None
    state.interrupts, saved = interrupts, Saved(3, {"history": history}, {})
    state.keep(session, session.saver, saved, due=False)
    try:
        state.finish(saved, checkpoint.meta_graph(session.graph),
                     checkpoint.values_of(session, tf.global_variables()))
    finally:
        assert state.steps() == []
        state.lock.close()


def finished(folder, settings=SETTINGS, fresh=False):
    """Return what a next training finds there of one that has finished."""
    state = RunState(folder, settings)
    try:
        return state.finished(fresh)
    finally:
        state.lock.close()


def test_a_finished_run_is_remembered_until_fresh_or_other_options(tmp_path, session, capsys):
    folder = str(tmp_path)
    assert finished(folder) is None and capsys.readouterr().out == ""
    finish(folder, session)
    assert capsys.readouterr().out == "Saved the weights in %s.\n" % folder
    assert finished(folder) == [{"loss": 0.5}]
    assert "has finished" in capsys.readouterr().out
    assert finished(folder, fresh=True) is None and capsys.readouterr().out == ""
    assert finished(folder, dict(SETTINGS, seed=2)) is None
    assert "finished training with other options (seed 1, now 2)" in capsys.readouterr().out
    os.remove(glob.glob(os.path.join(folder, "weights-*.index"))[0])
    assert finished(folder) is None


def test_ctrl_c_during_the_last_save_says_what_was_saved(tmp_path, session):
    with pytest.raises(Interrupted, match="^Saved the weights in .* The training has finished"):
        finish(str(tmp_path), session, interrupts=[2])
    assert finished(str(tmp_path))


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    first = RunState(str(tmp_path), SETTINGS)
    with pytest.raises(UserError, match="another training or release is writing to"):
        RunState(str(tmp_path), SETTINGS)
    first.lock.close()
    RunState(str(tmp_path), SETTINGS)


def test_another_number_of_cores_is_announced(tmp_path, session, monkeypatch, capsys):
    state = RunState(str(tmp_path), SETTINGS)
    save(state, session, 1)
    monkeypatch.setattr(run_state, "cores", lambda: 999)
    state.resume(session, session.saver)
    assert "resumed on 999: the same to rounding, not bit for bit" in capsys.readouterr().out
