"""Settings of pre-training: defaults of each method, limits, and old run folders."""

import dataclasses
import json

import pytest

from alexnet.errors import UsageError
from alexnet.pretraining.settings import Settings, from_json
from alexnet.training.settings import Recipe


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"method": "crbn"}, "unknown method 'crbn': did you mean 'crbm'"),
        ({"noise": 1.0}, "noise is 1.0; it takes a number of at least 0 and below 1"),
        ({"sparsity": 0.0}, "sparsity is 0.0; it takes a number above 0 and below 1"),
        ({"sparsity_rate": -1}, "sparsity_rate is -1; it takes a number of at least 0"),
        ({"block": 0}, "block is 0; it takes a whole number above 0"),
        ({"sigma": 0.1, "sigma_last": 0.2}, "sigma_last is 0.2; sigma falls to it, so take 0.1 or less"),
        ({"sigma_last": 0}, "sigma_last is 0; it takes a number above 0"),
        ({"sigma_decay": 1.1}, "sigma_decay is 1.1; it takes a number above 0 and at most 1"),
        ({"epochs": 0}, "epochs is 0; it takes a whole number above 0"),
        ({"epochs": True}, "epochs is True; it takes a whole number above 0"),
        ({"lr": -1.0}, "lr is -1.0; it takes a number above 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5; it takes a whole number above 0"),
        ({"seed": 2**32}, "seed is 4294967296; it takes a whole number from 0 to 4294967295"),
        ({"max_bad": 2}, "max_bad is 2; it takes a number from 0 to 1"),
        ({"tied": 1}, "tied is 1; it takes true or false"),
        ({"augment": "flop"}, "unknown augmentation 'flop': did you mean 'flip'"),
        ({"augment": "crop,resized_crop"}, "augment has both 'crop' and 'resized_crop'; keep one of them"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"sparsity": 0.1}, "sparsity is 0.1, but only the method crbm has it; leave it out, or give --method crbm"),
        ({"method": "crbm", "tied": False}, "tied is False, but only the method autoencoder has it"),
    ],
)
def test_a_wrong_setting_is_one_line_with_the_value_and_what_is_accepted(settings, line):
    for make in (Settings, lambda **changes: dataclasses.replace(Settings(), **changes)):
        with pytest.raises(UsageError) as caught:
            make(**settings)
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)


def test_values_become_the_types_of_the_fields():
    made = Settings(method="crbm", epochs="3", lr="1e-3", also=["a", "b"], layers=2, whiten="false")
    assert (made.epochs, made.lr, made.more, made.layers, made.whiten) == (3, 0.001, ["a", "b"], "2", False)


def test_each_method_has_its_own_defaults():
    assert (Settings().recipe(1).optimizer, Settings().recipe(1).lr) == ("adam", 3e-3)
    crbm = Settings(method="crbm").recipe(3)
    assert (crbm.optimizer, crbm.lr, crbm.weight_decay) == ("velocity", 0.03, 0.01)
    assert (Settings().recipe(1).batch_size, crbm.batch_size) == (32, 8)
    assert Settings(method="crbm", lr=0.5, weight_decay=0.0).recipe(1).lr == 0.5
    assert crbm.epochs == 3 * Settings().epochs


def test_a_setting_that_both_records_have_takes_the_same_values():
    """Otherwise pre-training would accept a value that its recipe refuses later."""
    theirs = {field.name: field for field in dataclasses.fields(Recipe)}
    shared = [field for field in dataclasses.fields(Settings) if field.name in theirs]
    differing = {field.name for field in shared if field.metadata["limits"] != theirs[field.name].metadata["limits"]}
    assert differing == {"epochs"}  # of each layer; the recipe's are those of all layers


def test_settings_survive_json():
    settings = Settings(method="crbm", layers="2", whiten=False)
    assert from_json(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
    with pytest.raises(UsageError, match="unknown setting"):
        from_json({"nose": 0.1})


OLD = {  # "pretraining" in the config.json of a run made before settings were checked by pydantic
    **{"method": "crbm", "network": "modern", "also": "", "layers": "", "input_size": None, "resize": None},
    **{"store_size": None, "max_bad": 0.01, "epochs": 20, "batch_size": None, "lr": None, "weight_decay": None},
    **{"noise": 0.3, "tied": True, "sparsity": 0.03, "sparsity_rate": 5.0, "block": 2, "sigma": 0.2},
    **{"sigma_last": 0.1, "sigma_decay": 0.99, "whiten": True, "augment": "crop,flip", "crop_scale": 0.25},
    **{"validation": None, "test": None, "given_splits": True, "checkpoint_minutes": 5.0, "seed": 0},
    **{"split_seed": 0, "device": "auto", "precision": "auto", "workers": None},
}


def test_the_settings_of_an_old_run_are_read_and_its_values_written_again():
    assert from_json(OLD) == Settings(method="crbm", max_bad=0.01)
    written = dataclasses.asdict(from_json(OLD))
    assert json.dumps({name: written[name] for name in OLD}) == json.dumps(OLD)
