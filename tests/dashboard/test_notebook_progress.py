"""Progress as a widget: bars by layer, and people's words as text."""

from yfccdask.dashboard.notebook_progress import WidgetDisplay, in_notebook
from yfccdask.dashboard.progress import TrainingDisplay, training_progress


def block_event(layer):
    terms = {"reconstruction": [1.0, 2.0], "sparsity": [0.5, 0.5]}
    return {"event": "block", "layer": layer, "images": 8, "seconds": 2.0, **terms}


def test_a_widget_has_a_bar_for_each_layer_that_counts_blocks():
    display = WidgetDisplay()
    display({"event": "start", "visits": [4, 2]})
    for layer in (1, 1, 2):
        display(block_event(layer))
    assert [(bar.value, bar.max) for bar in display.bars] == [(2, 4), (1, 2)]
    assert display.texts[0].value == "2 of 4 blocks, objective 2, 8 images/s"
    assert len(display.widget.children) == 3


def test_a_widget_goes_on_where_a_run_is():
    display = WidgetDisplay()
    layers = [{"of": 9, "blocks": 5}, {"of": 3, "blocks": 0}]
    display({"event": "attach", "run": "r", "state": "running", "workers": 2, "layers": layers})
    display(block_event(1))
    display({"event": "resume", "visits": [9, 3], "done": [4, 0], "commit": 1, "tick": 4})
    assert [bar.value for bar in display.bars] == [4, 0]
    assert "going on from commit 1" in display.words.value


def test_a_widget_escapes_what_is_said_and_keeps_the_last_lines():
    display = WidgetDisplay()
    for number in range(9):
        display({"event": "warning", "text": f"<b>{number}</b>"})
    assert "<b>" not in display.words.value
    assert "&lt;b&gt;8" in display.words.value
    assert display.words.value.count("<div") == 4
    display({"event": "scale", "layer": 1})


def test_there_is_no_widget_outside_of_a_notebook():
    assert not in_notebook()
    with training_progress() as show:
        assert isinstance(show, TrainingDisplay)
