import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from viztool.errors import ModelError
from viztool.models.checkpoint import fit_checkpoint, read_checkpoint


def build(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def equal(net: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def prefixed(state: dict, prefix: str) -> dict:
    return {prefix + key: value for key, value in state.items()}


WRAPPERS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}},
    "model": lambda state: {"model": state, "step": torch.tensor(7)},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.1},
    "net": lambda state: {"net": state},
    "ema": lambda state: {"ema": state},
    "nested": lambda state: {"model": {"state_dict": state}},
    "unknown wrapper": lambda state: {"epoch": 3, "generator": state},
    "options of the training script": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1)},
    "module.": lambda state: prefixed(state, "module."),
    "model.": lambda state: {"state_dict": prefixed(state, "model.")},
    "_orig_mod.": lambda state: prefixed(state, "_orig_mod."),
    "net.": lambda state: prefixed(state, "net."),
    "module._orig_mod.model.": lambda state: prefixed(state, "module._orig_mod.model."),
    "averaged": lambda state: {"n_averaged": torch.tensor(9), **prefixed(state, "module.")},
    "half": lambda state: {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
    "without counters": lambda state: {key: value for key, value in state.items() if "num_batches" not in key},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapping_is_taken_off(wrapper, tmp_path):
    trained = build(seed=1)
    if wrapper == "half":  # weights that half precision holds exactly
        trained = trained.half().float()
    state = {key: value.clone() for key, value in trained.state_dict().items()}
    torch.save(WRAPPERS[wrapper](state), tmp_path / "run.pth")
    net = build(seed=2)
    fit_checkpoint(net, read_checkpoint(tmp_path / "run.pth"), "run.pth", "net")
    assert equal(net, state)
    assert {value.dtype for value in net.parameters()} == {torch.float32}


def test_safetensors_and_old_archives(tmp_path):
    state = build(seed=1).state_dict()
    save_file(state, tmp_path / "run.safetensors")
    torch.save(state, tmp_path / "run.pt", _use_new_zipfile_serialization=False)
    for file in ("run.safetensors", "run.pt"):
        net = build(seed=2)
        fit_checkpoint(net, read_checkpoint(str(tmp_path / file)), file, "net")
        assert equal(net, state)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_a_wrapped_network_takes_the_weights_of_the_bare_one(wrap, tmp_path):
    state = build(seed=1).state_dict()
    net = build(seed=2)
    fit_checkpoint(wrap(net), state, "run.pth", "net")
    assert equal(net, state)


def test_a_network_whose_own_part_is_called_model_keeps_that_name():
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = build(seed=2)

    trained = Wrapper()
    net = Wrapper()
    fit_checkpoint(net, prefixed(trained.state_dict(), "module."), "run.pth", "net")
    assert equal(net, trained.state_dict())


def test_lazy_layers_take_their_shape_from_the_file():
    net = nn.Sequential(nn.LazyConv2d(4, 3))
    state = {"0.weight": torch.ones(4, 5, 3, 3), "0.bias": torch.zeros(4)}
    fit_checkpoint(net, state, "run.pth", "net")
    assert equal(net, state)


def test_what_does_not_fit_is_named_and_nothing_is_loaded():
    net = build(seed=2)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = dict(build(seed=1).state_dict())
    del state["1.bias"]
    state |= {f"head.{i}": torch.zeros(1) for i in range(4)} | {"0.weight": torch.zeros(4, 1, 3, 3)}
    with pytest.raises(ModelError) as error:
        fit_checkpoint(net, state, "run.pth", "nets.py:build")
    assert str(error.value) == (
        "run.pth does not fit nets.py:build: 1 key missing (1.bias); 4 keys unexpected (head.0, head.1, head.2, ...); "
        "1 key of another shape (0.weight is (4, 1, 3, 3), the network's is (4, 3, 3, 3))"
    )
    assert equal(net, before)


def test_a_checkpoint_of_another_network_lists_both_sides():
    with pytest.raises(ModelError) as error:
        fit_checkpoint(nn.Linear(2, 2), {"a.x": torch.zeros(1), "b.x": torch.zeros(1)}, "run.pth", "net")
    assert str(error.value) == ("run.pth does not fit net: 2 keys missing (weight, bias); 2 keys unexpected (a.x, b.x)")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


class Custom:
    """A class of the training script's own."""


@pytest.mark.parametrize("old", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_not_run(old, tmp_path):
    file, target = tmp_path / "run.pth", tmp_path / "owned"
    torch.save({"state_dict": Malicious(target)}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(ModelError) as error:
        read_checkpoint(file)
    assert str(error.value) == (
        f"{file} is refused: reading it could run code (it names {os.mkdir.__module__}.mkdir); "
        "save the network's state_dict(), or use safetensors"
    )
    assert not target.exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    file, target = tmp_path / "run.pth", tmp_path / "owned"
    file.write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(ModelError):
        read_checkpoint(file)
    assert not target.exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    torch.save(build(), file)
    with pytest.raises(ModelError) as error:
        read_checkpoint(file)
    assert str(error.value) == (
        f"{file} is refused: reading it could run code (it names torch.nn.modules.container.Sequential); "
        "save the network's state_dict(), or use safetensors"
    )


def test_a_class_of_ones_own_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    torch.save({"state_dict": build().state_dict(), "config": Custom()}, file)
    with pytest.raises(ModelError, match=r"is refused: reading it could run code \(it names \S*Custom\)"):
        read_checkpoint(file)


def damaged(file: Path) -> None:
    torch.save(build().state_dict(), file)
    file.write_bytes(file.read_bytes()[:-200])


def scripted(file: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3), check_trace=False), file)


def with_nan(file: Path) -> None:
    state = build().state_dict()
    state["1.running_var"][2] = float("nan")
    torch.save(state, file)


def with_infinity(file: Path) -> None:
    state = build().state_dict()
    state["3.bias"][0] = float("inf")
    save_file(state, file)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("none.pth", lambda file: None, "there is no weights file {file}"),
        ("folder.pth", lambda file: file.mkdir(), "there is no weights file {file}"),
        ("empty.pth", lambda file: file.touch(), "the weights file {file} is empty"),
        ("cut.pth", damaged, "the weights file {file} is damaged, or is none"),
        ("text.pth", lambda file: file.write_text("hello"), "the weights file {file} is damaged, or is none"),
        ("text.safetensors", lambda file: file.write_text("hello"), "the weights file {file} is damaged, or is none"),
        (
            "cut.safetensors",
            lambda file: file.write_bytes(b"\0" * 20),
            "the weights file {file} is damaged, or is none",
        ),
        ("script.pt", scripted, "{file} is a TorchScript archive: save the state_dict() of the network in it"),
        ("nan.pth", with_nan, "{file}: 1.running_var holds NaN or infinity"),
        ("inf.safetensors", with_infinity, "{file}: 3.bias holds NaN or infinity"),
        (
            "log.pth",
            lambda file: torch.save({"epoch": 3, "loss": 0.5}, file),
            "{file} holds no weights by name (its keys are epoch, loss): save the network's state_dict()",
        ),
        (
            "tensor.pth",
            lambda file: torch.save(torch.zeros(3), file),
            "{file} holds no weights by name (Tensor): save the network's state_dict()",
        ),
    ],
)
def test_files_that_are_no_good(name, make, message, tmp_path):
    file = tmp_path / name
    make(file)
    with pytest.raises(ModelError) as error:
        read_checkpoint(file)
    assert str(error.value) == message.format(file=file)
