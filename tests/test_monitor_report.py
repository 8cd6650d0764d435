"""The log, the page and the sheet: what they say is what was measured, whole after a crash, and nothing is fetched."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from explorer_browser import chromium
from monitor_nets import small, train
from PIL import Image
from rich.console import Console

import viztool
from viztool.cli import main
from viztool.images import read_mark
from viztool.monitor import read_log
from viztool.monitor.live import Following
from viztool.monitor.log import LogError
from viztool.monitor.run import History, Row


def broken(path, steps=12, every=2):
    """A training in which most units of layer 2 are dead, logged."""
    net = small()
    with torch.no_grad():
        net[1].bias[:6] = -100
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=every, log=path, quiet=True) as health:
        train(net, optimizer, steps, record=health.record)
    assert health._engine.failed == ""
    return health


def test_one_line_for_each_sample_tells_all_that_was_found(tmp_path):
    health = broken(tmp_path / "run.jsonl")
    lines = (tmp_path / "run.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2, 4, 6, 8, 10]
    report = read_log(tmp_path / "run.jsonl")
    assert report.findings == health.findings
    assert [(finding.kind, finding.layer) for finding in report.findings] == [("dead-units", "2")]
    for layer, numbers in health.numbers["layers"].items():
        assert report.numbers["layers"][layer] == pytest.approx(numbers, rel=1e-3)
    assert max(map(len, lines[1:])) < 2000 * len(health.run.layers)


def test_a_log_can_be_read_while_it_is_written_and_after_a_crash(tmp_path):
    path = tmp_path / "run.jsonl"
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    health = viztool.monitor(net, optimizer, every=2, log=path)
    train(net, optimizer, 3)
    assert len(read_log(path).run.steps) == 2
    health.close()
    path.write_bytes(path.read_bytes() + b'{"step":4,"val')
    assert len(read_log(path).run.steps) == 2


def test_who_follows_a_log_waits_for_it_and_begins_anew_with_another_in_its_place(tmp_path):
    path = tmp_path / "run.jsonl"
    following = Following(path)

    def shown():
        console = Console(width=200, file=io.StringIO())
        console.print(following.look())
        return console.file.getvalue().splitlines()[0].replace(str(tmp_path), "")

    assert shown() == "/run.jsonl is not there yet"
    path.touch()
    assert shown() == "/run.jsonl has no sample yet"
    broken(path, 24)
    long = path.read_bytes()
    assert shown() == "Sequential · step 22 · 12 samples"
    path.write_bytes(b"")
    assert shown() == "/run.jsonl has no sample yet"
    path.unlink()
    assert shown() == "/run.jsonl is not there yet"
    broken(path, 2)
    assert shown() == "Sequential · step 0 · 1 sample"
    path.rename(tmp_path / "run.1.jsonl")
    broken(path, 30)  # already longer than what was read
    assert shown() == "Sequential · step 28 · 15 samples"
    path.write_bytes(long)
    assert shown() == "Sequential · step 22 · 12 samples"
    path.write_bytes(b"".join(long.splitlines(keepends=True)[:5]))  # a training that goes on at an earlier step
    assert shown() == "Sequential · step 8 · 5 samples"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no sample yet"),
        (b"step,loss\n", r"is no log of viztool.monitor \(line 1\)"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_log_is_said(tmp_path, content, said):
    path = tmp_path / "run.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LogError, match=said):
        read_log(path)


def test_another_file_is_not_written_over(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    net = small()
    with pytest.raises(LogError, match=r"notes\.txt is there, and no log of viztool.monitor; give another name"):
        viztool.monitor(net, torch.optim.SGD(net.parameters(), 0.01), log=path)
    assert path.read_text() == "mine"


def test_a_folder_is_no_log(tmp_path):
    net = small()
    with pytest.raises(LogError, match=r"is a folder; the log is a file$"):
        viztool.monitor(net, torch.optim.SGD(net.parameters(), 0.01), log=tmp_path)


def test_a_log_that_cannot_be_written_is_said_at_once_and_leaves_nothing_behind(tmp_path, monkeypatch):
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    (tmp_path / "file").write_text("mine")
    hooks = len(optimizer._optimizer_step_post_hooks)

    def said(log):
        with pytest.raises(viztool.ViztoolError) as error:
            viztool.monitor(net, optimizer, log=log)
        assert len(optimizer._optimizer_step_post_hooks) == hooks
        assert [each.name for each in tmp_path.iterdir()] == ["file"]
        return str(error.value).replace(str(tmp_path), "")

    assert said(5) == "log is the name of a file, not 5"
    assert said(True) == "log is the name of a file, not True"
    assert said(tmp_path / "file" / "run.jsonl") == "/file/run.jsonl cannot be written (Not a directory)"
    assert said("/proc/none/run.jsonl") == "/proc/none/run.jsonl cannot be written (No such file or directory)"
    assert said("a\0b") == "a\0b cannot be written (embedded null byte)"
    assert said(tmp_path / "a" / ("x" * 300)).endswith("xxx cannot be written (File name too long)")
    monkeypatch.setattr("pathlib.Path.open", refused)
    assert said(tmp_path / "a" / "b" / "run.jsonl") == "/a/b/run.jsonl cannot be written (Permission denied)"


def refused(path, mode):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_log_in_a_folder_that_is_not_there_makes_it_with_the_first_sample(tmp_path):
    path = tmp_path / "runs" / "one" / "run.jsonl"
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    health = viztool.monitor(net, optimizer, log=path)
    assert list(tmp_path.iterdir()) == []
    train(net, optimizer, 1)
    health.close()
    assert len(read_log(path).run.steps) == 1


def test_a_log_has_one_monitor_that_writes_it(tmp_path):
    def watched():
        net = small()
        return viztool.monitor(net, torch.optim.SGD(net.parameters(), 0.01), log=tmp_path / "run.jsonl")

    watched()  # nobody has it any more
    first = watched()
    with pytest.raises(LogError, match=r"run\.jsonl is written by another monitor; close that, or give another name$"):
        watched()
    again = viztool.monitor(first._engine.root, first._engine.optimizers, log=tmp_path / "run.jsonl")
    again.close()
    watched().close()


def test_a_training_that_goes_on_goes_on_with_its_log_and_its_findings(tmp_path):
    def run(path, stops):
        torch.manual_seed(0)
        net = small(dropout=0.0)
        with torch.no_grad():
            net[1].bias[:6] = -100
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        health = viztool.monitor(net, optimizer, every=2, log=path, quiet=True)
        state = None
        for begin, end in zip([0, *stops], [*stops, 14], strict=True):
            train(net, optimizer, end - begin, seed=begin)
            if end in stops:
                state = torch.load(saved(health.state_dict(), path), weights_only=True)
                train(net, optimizer, 4, seed=99)  # what a crash threw away
                health.close()
                health = viztool.monitor(net, optimizer, every=2, log=path, quiet=True)
                health.load_state_dict(state)
        health.close()
        return health

    def saved(state, path):
        torch.save(state, path.with_suffix(".pt"))
        return path.with_suffix(".pt")

    health = run(tmp_path / "b.jsonl", [7])
    steps = [json.loads(line)["step"] for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert steps == [0, 2, 4, 6, 8, 10, 12]
    assert [finding.since_step for finding in health.findings] == [0]
    assert read_log(tmp_path / "b.jsonl").run.steps.tolist() == health.run.steps.tolist() == steps


def test_the_history_in_memory_does_not_grow():
    history = History(most=16)
    for step in range(1000):
        history.add(Row(step, torch.zeros(17, 3).numpy(), {"loss": float(step)}))
    assert len(history.rows) <= 16
    run = history.run({}, [("a", "Linear")] * 3, [])
    assert run.steps[0] == 0 and run.steps[-1] == 999 and run.samples == 1000
    assert len(set(run.steps[1:-1] - run.steps[:-2])) == 1


def test_the_page_says_what_was_found_and_fetches_nothing(tmp_path):
    health = broken(tmp_path / "run.jsonl")
    path = health.save(tmp_path / "health.html")
    assert read_mark(path) is not None
    with chromium() as tab:
        tab.open(path)
        found = tab.run("[...document.querySelectorAll('[data-finding]')].map(each => ({...each.dataset}))")
        assert [(each["kind"], each["layer"], each["since"]) for each in found] == [("dead-units", "2", "0")]
        assert health.findings[0].evidence[1:] in tab.run("document.body.innerText")
        maps = tab.run("[...document.querySelectorAll('.map')].map(each => each.dataset.quantity)")
        assert maps[0] == "dead" and maps[1] == "mean"
        assert tab.run("document.querySelectorAll('[data-quantity=dead] canvas').length") == 2
        assert tab.run("document.querySelectorAll('[data-plot=loss] path').length") == 1
        tab.page.hover("[data-quantity=dead] figure canvas", position={"x": 3, "y": 3})
        assert tab.run("document.getElementById('hover').textContent").startswith(
            "dead units of 2 (ReLU) at step 0: 0.75"
        )
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        assert tab.errors == []
        assert [url for url in tab.requests if not url.startswith(("file:", "about:"))] == []


def test_a_page_shows_first_what_a_finding_is_told_from_and_a_rate_of_0_as_a_line(tmp_path):
    net = small()
    own = list(net[3].parameters())
    others = [each for name, each in net.named_parameters() if not name.startswith("3.")]
    optimizer = torch.optim.SGD([{"params": others}, {"params": own, "lr": 0.0}], 0.01)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        train(net, optimizer, 5)
    assert [(finding.kind, finding.layer) for finding in health.findings] == [("never-updated", "3")]
    path = health.save(tmp_path / "health.html")
    with chromium() as tab:
        tab.open(path)
        assert tab.run("document.querySelector('.map').dataset.quantity") == "update"
        line = "document.querySelector('[data-plot=\"lr of group 1\"] path').getAttribute('d')"
        assert tab.run(line).count("L") == 4


def test_names_are_text_never_markup(tmp_path):
    net = torch.nn.Sequential()
    net.add_module("<img src=x onerror=alert()>", torch.nn.Linear(4, 4))
    net.add_module("end", torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(net[1].parameters(), 0.1)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for _ in range(3):
            net(torch.randn(8, 4)).sum().backward()
            optimizer.step()
    path = health.save(tmp_path / "x.html")
    with chromium() as tab:
        tab.open(path)
        assert tab.run("document.querySelectorAll('img').length") == 0
        assert "<img src=x" in tab.run("document.querySelector('[data-finding]').innerText")


def test_several_logs_are_compared_on_one_page(tmp_path):
    broken(tmp_path / "one.jsonl")
    broken(tmp_path / "two.jsonl", steps=20)
    done = CliRunner().invoke(
        main, ["monitor", str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl"), "-o", str(tmp_path / "x.html")]
    )
    assert done.exit_code == 0, done.output
    with chromium() as tab:
        tab.open(tmp_path / "x.html")
        assert tab.run("document.querySelectorAll('[data-quantity=dead] figure').length") == 2
        assert tab.run("document.querySelectorAll('[data-plot=loss] path').length") == 2
        assert tab.errors == []


def test_layers_of_two_networks_are_compared_by_their_names(tmp_path):
    broken(tmp_path / "one.jsonl")
    net = torch.nn.Sequential()
    net.add_module("other", torch.nn.Linear(4, 4))
    net.add_module("2", torch.nn.ReLU())
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with viztool.monitor(net, optimizer, every=1, quiet=True, log=tmp_path / "two.jsonl"):
        net(torch.randn(8, 4)).sum().backward()
        optimizer.step()
    page = viztool.monitor.report.compare_logs([str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")])
    with chromium() as tab:
        tab.open(page.save(tmp_path / "x.html"))
        names = "[...document.querySelectorAll('[data-quantity={}] .names div')].map(each => each.title)"
        assert tab.run(names.format("mean")) == ["0", "1", "2", "3", "4", "8", "other"]
        assert tab.run(names.format("dead")) == ["2", "4"]
        canvas = "document.querySelectorAll('[data-quantity=mean] figure canvas')[1]"
        pixel = f"y => [...{canvas}.getContext('2d').getImageData(0, y, 1, 1).data]"
        grey = [236, 238, 240, 255]
        assert [tab.run(pixel, y) == grey for y in range(7)] == [True, True, False, True, True, True, False]


def test_the_sheet_is_drawn_and_its_words_are_in_the_svg(tmp_path):
    health = broken(None, steps=8)
    with Image.open(health.save(tmp_path / "health.png")) as sheet:
        assert sheet.width == 1340
    words = health.save(tmp_path / "health.svg").read_text()
    assert "dead-units in 2 since step 0" in words
    assert "6 of 8 units were never above 0" in words
    assert "no sample yet" in viztool.monitor(small(), torch.optim.SGD([torch.zeros(1)], 0.1)).in_words


def test_the_command_writes_the_page_and_says_what_it_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken("run.jsonl")
    done = CliRunner().invoke(main, ["monitor", "run.jsonl"])
    assert done.exit_code == 0
    assert done.stdout == "run.html\n"
    assert "dead-units in 2 since step 0: 6 of 8 units" in done.stderr
    told = json.loads(CliRunner().invoke(main, ["monitor", "run.jsonl", "--json", "-o", "run.png"]).stdout)
    assert told["results"][0]["findings"][0]["kind"] == "dead-units"
    followed = CliRunner().invoke(main, ["monitor", "run.jsonl", "--follow"])
    assert "1 finding at step 10" in followed.output
    assert CliRunner().invoke(main, ["monitor", "none.jsonl"]).exit_code == 1
    assert CliRunner().invoke(main, ["monitor", "run.jsonl", "run.jsonl", "-o", "x.png"]).exit_code == 2


def test_to_follow_shows_findings_and_the_newest_sample(tmp_path):
    from rich.console import Console

    from viztool.monitor.live import Following

    broken(tmp_path / "run.jsonl")
    console = Console(width=120, record=True, file=io.StringIO())
    following = Following(tmp_path / "run.jsonl")
    console.print(following.look())
    console.print(following.look())
    shown = console.export_text()
    assert shown.count("dead-units in 2 since step 0") == 2
    assert "loss" in shown and "gradient" in shown


def test_to_read_a_log_takes_no_torch():
    code = (
        "import sys, viztool.monitor.report, viztool.monitor.page, viztool.monitor.sheet; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_lines_that_are_thinned_out_are_read_in_short_and_keep_their_findings(tmp_path, monkeypatch):
    broken(tmp_path / "run.jsonl", steps=40, every=1)
    whole = read_log(tmp_path / "run.jsonl")
    monkeypatch.setattr("viztool.monitor.report.History", lambda: History(most=4))
    thin = read_log(tmp_path / "run.jsonl")
    assert len(thin.run.steps) < 8 and thin.run.samples == whole.run.samples == 40
    assert thin.run.spans == whole.run.spans and len(thin.run.spans) == 1
    assert thin.numbers["layers"] == whole.numbers["layers"]
