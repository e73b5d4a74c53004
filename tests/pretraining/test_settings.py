"""Settings of pre-training, and what is refused."""

import dataclasses

import pytest

from alexnet.errors import UsageError
from alexnet.pretraining.settings import Settings, from_json


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "crbn"}, "unknown method 'crbn': did you mean 'crbm'"),
        ({"noise": 1.0}, "noise is 1.0"),
        ({"sparsity": 0.0}, "sparsity is 0.0"),
        ({"block": 0}, "block is 0"),
        ({"sigma": 0.1, "sigma_last": 0.2}, "sigma goes from 0.1 to 0.2"),
        ({"sigma_decay": 1.1}, "sigma_decay is 1.1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": -1.0}, "lr is -1"),
        ({"augment": "flop"}, "did you mean 'flip'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        Settings(**settings)


def test_each_method_has_its_own_rate_unless_one_is_given():
    assert (Settings().recipe(1).optimizer, Settings().recipe(1).lr) == ("adam", 3e-3)
    machine = Settings(method="crbm").recipe(3)
    assert (machine.optimizer, machine.lr, machine.weight_decay) == ("velocity", 0.03, 0.01)
    assert (Settings().recipe(1).batch_size, machine.batch_size) == (32, 8)
    assert Settings(method="crbm", lr=0.5, weight_decay=0.0).recipe(1).lr == 0.5
    assert machine.epochs == 3 * Settings().epochs


def test_settings_survive_json():
    settings = Settings(method="crbm", layers="2", whiten=False)
    assert from_json(dataclasses.asdict(settings)) == settings
    with pytest.raises(UsageError, match="unknown setting"):
        from_json({"nose": 0.1})
