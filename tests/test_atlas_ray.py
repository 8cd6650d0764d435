"""A Ray cluster of two nodes, one of which may be lost: the same bytes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from atlas_helpers import SMALL_LAYERS, digests, photo, small_model, write_photos
from click.testing import CliRunner

import viztool
from viztool.atlas.build import build_atlas
from viztool.cli.evaluate import evaluate
from viztool.errors import ViztoolError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

COUNT = 75


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), COUNT)


@pytest.fixture(scope="module")
def wanted(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "atlas"
    build_atlas(small_model(), photos, folder, layers=SMALL_LAYERS, keep=4)
    return digests(folder)


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        yield cluster, other
    finally:
        ray.shutdown()
        cluster.shutdown()


NETS = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
"""


@pytest.mark.filterwarnings("default")
def test_heatmaps_are_judged_as_in_one_process(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the nodes are not: the photos are named from here
    Path("nets.py").write_text(NETS)
    Path("photos").mkdir()
    for number in range(2):
        viztool.images.write_image(f"photos/{number}.png", photo(number, 20, 24))
    Path("photos/broken.png").write_text("no picture")
    told, arrays = [], []
    for workers in ("1", "ray"):
        asked = ["photos", "--method", "gradcam", "--workers", workers, "-o", f"{workers}.png", "--npz", "--json"]
        result = CliRunner().invoke(evaluate, [*asked, "-m", "nets.py:build", "--size", "16", "--steps", "4"])
        assert result.exit_code == 1, result.stderr  # for the broken one
        assert result.stdout, result.stderr
        told.append(json.loads(result.stdout))
        assert told[-1]["results"][0].pop("files") == [f"{workers}.png", f"{workers}.npz"]
        with np.load(f"{workers}.npz") as file:
            arrays.append({name: (array.dtype, array.shape, array.tobytes()) for name, array in file.items()})
    here, there = told
    assert {each["source"] for each in here["results"][0]["photos"]} == {"0.png", "1.png"}
    assert [error["source"] for error in here["errors"]] == ["photos/broken.png"]
    assert there == here
    assert arrays[1] == arrays[0]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.filterwarnings("default")
def test_two_nodes_of_which_one_is_lost(photos, wanted, tmp_path, cluster):
    cluster, other = cluster
    lost = threading.Event()

    def lose(progress):
        if progress.done and not lost.is_set():
            lost.set()
            cluster.remove_node(other, allow_graceful=False)

    build_atlas(small_model(), photos, tmp_path / "one", layers=SMALL_LAYERS, keep=4, workers="ray")
    assert digests(tmp_path / "one") == wanted
    build_atlas(small_model(), photos, tmp_path / "two", layers=SMALL_LAYERS, keep=4, workers="ray", callback=lose)
    assert lost.is_set()
    assert digests(tmp_path / "two") == wanted
    # What a task has to say comes through as the one line that it is.
    with pytest.raises(ViztoolError, match=r"cannot run on an input of \(8, 3, 32, 36\): two at a time$"):
        build_atlas(two_at_a_time(), photos, tmp_path / "three", layers=["0"], keep=4, workers="ray")
    with pytest.raises(ViztoolError, match=r"does not see .*photos"):
        _hide(photos, tmp_path)


def two_at_a_time():
    class Net(torch.nn.Conv2d):
        def forward(self, x):
            if len(x) > 2:
                raise RuntimeError("two at a time")
            return super().forward(x)

    return viztool.wrap_model(torch.nn.Sequential(Net(3, 2, 3)).eval(), size=(32, 36))


def _hide(photos, tmp_path):
    """Photos that are there when the build is planned, and for nobody else."""
    from viztool.atlas.sources import files

    own = photos.parent / "hidden"
    write_photos(own, 17)
    real = files.Files.entries

    def entries(self):
        found = real(self)
        own.rename(own.with_name("gone"))
        return found

    files.Files.entries = entries
    try:
        build_atlas(small_model(), own, tmp_path / "four", layers=SMALL_LAYERS, keep=4, workers="ray")
    finally:
        files.Files.entries = real
