"""Models on a hub are found, pinned to a commit, verified, and read as safetensors and nothing else."""

import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexnet
from alexnet.errors import UsageError, WeightsError
from alexnet.weights import hub
from alexnet.weights.card import BEST, read
from alexnet.weights.named import read_named

NAME = "hub:me/digits"


@pytest.fixture
def commit(hub_server: Any, small_run: "alexnet.Run") -> str:
    """A run's weights on the hub; the commit."""
    return str(hub_server.put("me/digits", {hub.FILE: (small_run.folder / BEST).read_bytes()}))


def downloads(server: Any) -> int:
    return sum(each.startswith("GET") for each in server.asked)


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("hub:me/flowers", "me/flowers", "main"),
        ("hub:me-2/my_flowers.v1@v1.0", "me-2/my_flowers.v1", "v1.0"),
        (Path("hub:me/flowers@refs/pr/1"), "me/flowers", "refs/pr/1"),
        ("hub:me\\flowers", "me/flowers", "main"),
    ],
)
def test_a_name_means_a_repository_and_a_revision(name: str, repository: str, revision: str) -> None:
    assert hub.is_name(name)
    assert hub.place_of(name) == (repository, revision)


@pytest.mark.parametrize(
    "name",
    [
        *("hub:", "hub:me", "hub:me/", "hub:/flowers", "hub:a/b/c", "hub:../etc/passwd", "hub:me/..", "hub:me/a--b"),
        *("hub:me/a.git", "hub:me/-a", "hub:me/a b", "hub:me/flowers@", "hub:me/flowers@../x", "hub:me/flowers@/x"),
    ],
)
def test_a_name_that_no_hub_has_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=r"give (OWNER/NAME|a branch)") as refused:
        hub.fetch(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", ["regular", "lfs"])
def test_a_model_is_fetched_once_and_pinned_to_its_commit(
    hub_server: Any, commit: str, small_run: "alexnet.Run", mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    hub_server.upload_mode = mode
    with caplog.at_level(logging.INFO, "alexnet"):
        found = hub.fetch(NAME)
    assert found.name == f"{NAME}@{commit}"
    assert found.file.read_bytes() == (small_run.folder / BEST).read_bytes()
    assert f"{NAME} is {NAME}@{commit}" in caplog.text
    before = downloads(hub_server)
    assert hub.fetch(NAME) == found
    assert downloads(hub_server) == before


def test_a_branch_moves_and_a_commit_does_not(hub_server: Any, commit: str) -> None:
    hub_server.tags["v1"] = commit
    other = hub_server.put("me/digits", {hub.FILE: b"another file"})
    assert hub.fetch(NAME).name == f"{NAME}@{other}"
    assert hub.fetch(f"{NAME}@v1").name == hub.fetch(f"{NAME}@{commit}").name == f"{NAME}@{commit}"


def test_a_commit_in_the_cache_is_used_without_asking(hub_server: Any, commit: str) -> None:
    hub.fetch(NAME)
    hub_server.asked.clear()
    assert read_named(f"{NAME}@{commit}").card.training["published"] == f"{NAME}@{commit}"
    assert hub_server.asked == []


@pytest.mark.parametrize("how", ["dead", "busy", "offline"])
def test_without_a_network_the_cached_commit_is_used_and_named(
    hub_server: Any, commit: str, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.fetch(NAME)
    cut(hub_server, how, monkeypatch)
    with caplog.at_level(logging.WARNING, "alexnet"):
        assert hub.fetch(NAME).name == f"{NAME}@{commit}"
    assert f"using the cached {NAME}@{commit}" in caplog.text
    with pytest.raises(
        WeightsError,
        match=r"hub:me/other: (no answer from .*check the network|it is not in the cache, and HF_HUB_OFFLINE is set)",
    ) as refused:
        hub.fetch("hub:me/other")
    assert "\n" not in str(refused.value)


def cut(server: Any, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the network away."""
    from huggingface_hub import constants

    if how == "dead":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    elif how == "busy":
        server.refusal = (503, "")
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_what_is_not_there_or_not_for_us_is_said_in_one_line(
    hub_server: Any, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_server.put("me/secret", {hub.FILE: b""}, private=True)
    hub_server.put("me/empty", {"README.md": b""})
    monkeypatch.delenv("HF_TOKEN")
    for name, told in {
        "hub:me/none": "knows no such model, or it is private and no token is set",
        "hub:me/secret": "knows no such model, or it is private and no token is set",
        f"{NAME}@v9": "no such revision",
        "hub:me/empty": "holds no model.safetensors",
    }.items():
        with pytest.raises(WeightsError, match=told) as refused:
            alexnet.load(name)
        assert str(refused.value).startswith(f"{name}: ")
        assert "\n" not in str(refused.value)
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    with pytest.raises(WeightsError, match="the token that is set may not read it"):
        hub.fetch("hub:me/secret")


@pytest.mark.parametrize("mode", ["regular", "lfs"])
def test_a_file_of_another_checksum_is_refused_and_not_kept(hub_server: Any, commit: str, mode: str) -> None:
    hub_server.upload_mode = mode
    hub_server.body = lambda content: bytes([content[0] ^ 1]) + content[1:]
    with pytest.raises(WeightsError, match="is not what the hub announces"):
        hub.fetch(NAME)
    hub_server.body = bytes
    assert read(hub.fetch(NAME).file).card.network == "cifar-80sec"


def test_a_truncated_file_is_refused_and_not_kept(hub_server: Any, commit: str) -> None:
    hub_server.body = lambda content: content[: len(content) // 2]
    with pytest.raises(WeightsError, match=f"{NAME}[ :]") as refused:
        hub.fetch(NAME)
    assert "\n" not in str(refused.value)
    hub_server.body = bytes
    assert read(hub.fetch(NAME).file).card.network == "cifar-80sec"


@pytest.mark.parametrize("header", ["X-Repo-Commit", "ETag"])
@pytest.mark.parametrize("value", ['"../../../../evil"', "", "/etc/passwd"])
def test_names_that_lead_out_of_the_cache_are_refused(
    hub_server: Any, commit: str, tmp_path: Path, header: str, value: str
) -> None:
    hub_server.altered = {header: value}
    with pytest.raises(WeightsError, match="tells no commit and checksum"):
        hub.fetch(NAME)
    assert list(tmp_path.rglob("*")) == []


def test_another_commit_than_the_one_asked_for_is_not_used(hub_server: Any, commit: str) -> None:
    hub_server.altered = {"X-Repo-Commit": "0" * 40}
    with pytest.raises(WeightsError, match="answers with the commit 0000"):
        hub.fetch(f"{NAME}@{commit}")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (sys.exit, ("a pickle was run",))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (pickle.dumps(Trap()), "is a pickle"),
        (b"\x08\x07\x12\x07alexnet", "is no .safetensors file"),  # as an ONNX file begins
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "has no card"),
        (b"", "is no .safetensors file"),
    ],
)
def test_nothing_but_safetensors_with_a_card_is_read(hub_server: Any, content: bytes, told: str) -> None:
    commit = hub_server.put("me/odd", {hub.FILE: content})
    with pytest.raises(WeightsError, match=told) as refused:
        alexnet.load("hub:me/odd")
    assert str(refused.value).startswith(f"hub:me/odd@{commit}: ")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="install it: pip install huggingface_hub"):
        alexnet.load(NAME)


def test_a_model_on_a_hub_is_a_model_everywhere(
    hub_server: Any, commit: str, small_run: "alexnet.Run", small_data: Path, tmp_path: Path
) -> None:
    model, photo = alexnet.load(NAME), next(small_data.rglob("*.png"))
    ours = small_run.classifier.predict(photo)[0]
    assert model.predict(photo)[0].predictions == ours.predictions
    assert model.name == f"{NAME}@{commit}"
    assert model.origin is None
    with pytest.warns(UserWarning, match="belongs to no run"):
        assert alexnet.evaluate(NAME, small_data, split="all").model == f"{NAME}@{commit}"
    network = alexnet.create("cifar-80sec", weights=NAME)
    for name, tensor in read(small_run.folder / BEST).tensors.items():
        assert np.array_equal(network.state_dict()[name], tensor)


def test_a_run_begun_from_a_hub_records_the_commit(
    hub_server: Any, commit: str, small_data: Path, tmp_path: Path
) -> None:
    settings = {"input_size": 16, "store_size": 20, "resize": 20, "batch_size": 6, "epochs": 1, "init": NAME}
    run = alexnet.train(small_data, "cifar-80sec", tmp_path / "run", **settings)
    assert f'"init": "{NAME}@{commit}"' in (run.folder / "config.json").read_text(encoding="utf-8")
    assert '"initialised": [\n    "conv1"' in (run.folder / "config.json").read_text(encoding="utf-8")
