import dataclasses
import json
import re
from functools import partial

import numpy as np
import pytest

from alexnet.errors import FileError, UsageError
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.settings import Recipe, from_json


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_survives_json_and_its_docstring_has_its_command(name):
    made = recipe(name)
    assert made.name == name
    assert from_json(json.loads(json.dumps(dataclasses.asdict(made)))) == made
    assert "alexnet train" in RECIPES[name].__doc__


def test_every_field_has_help():
    assert all(field.metadata["help"] for field in dataclasses.fields(Recipe))


def test_settings_change_a_recipe_and_none_changes_nothing():
    made = recipe("modern", epochs=3, lr=None)
    assert (made.epochs, made.lr) == (3, recipe("modern").lr)


def test_drops_and_warm_up_are_scaled_with_the_epochs():
    assert recipe("modern", epochs=20).warmup_epochs == pytest.approx(recipe("modern").warmup_epochs / 5)
    assert recipe("torchvision", epochs=9).lr_drops == (3.0, 6.0)
    assert recipe("torchvision", epochs=9, lr_drops="1,2").lr_drops == (1.0, 2.0)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [(".yaml", "epochs: 7\nlr: 1e-3\naugment: flip\n"), (".toml", 'epochs = 7\nlr = 1e-3\naugment = "flip"\n')],
)
def test_a_file_changes_a_recipe_and_single_settings_win_over_it(tmp_path, suffix, text):
    file = tmp_path / f"settings{suffix}"
    file.write_text(text)
    made = recipe("modern", file, epochs=9)
    assert (made.epochs, made.lr, made.augmentations) == (9, 0.001, ("flip",))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"epochs": 0}, "epochs is 0; it takes a whole number above 0 and at most 1000000"),
        ({"epochs": "many"}, "epochs is 'many'; it takes a whole number"),
        ({"epoch": 3}, "unknown setting 'epoch': did you mean 'epochs'?"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg': did you mean 'sgd'?"),
        ({"augment": "flip,colour"}, "unknown augmentation 'colour': did you mean 'color'?"),
        ({"augment": "crop,resized_crop"}, "augment has both 'crop' and 'resized_crop'; keep one of them"),
        ({"dropout": 1.5}, "dropout is 1.5; it takes a number from 0 to 1"),
        ({"lr": -1}, "lr is -1; it takes a number above 0"),
        ({"lr": float("nan")}, "lr is nan; it takes a number above 0"),
        ({"lr": float("inf")}, "lr is inf; it takes a number above 0"),
        ({"lr_drops": "1,-2"}, "lr_drops is '1,-2'; it takes numbers of at least 0, as a list or separated by commas"),
        ({"crop_scale": 0.0}, "crop_scale is 0.0; it takes a number above 0 and at most 1"),
        ({"first_train_scale": 0.9}, "first_train_scale 0.9 is above train_scale"),
        ({"seed": -1}, "seed is -1; it takes a whole number from 0 to 4294967295"),
        ({"momentum": 1.0}, "momentum is 1.0; it takes a number of at least 0 and below 1"),
        ({"momentum": 0, "optimizer": "nesterov"}, "momentum is 0.0; nesterov takes a number above 0 and below 1"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"loss": "logistic"}, "label_smoothing goes with loss cross_entropy only"),
        ({"workers": -1}, "workers is -1; it takes a whole number of at least 0"),
        ({"stop_train_error": 25.0}, "stop_train_error is 25.0; it takes a number from 0 to 1"),
        ({"train_images": 0}, "train_images is 0; it takes a whole number above 0"),
        ({"input_size": 0}, "input_size is 0; it takes a whole number above 0"),
        ({"differences": "width"}, "differences has 'width'; it takes name=value"),
        ({"differences": "width=1,width=2"}, "differences has 'width=2'; it takes name=value, each name once"),
        ({"differences": "input_size=64"}, "differences has 'input_size', which is a setting of its own"),
        ({"differences": "dropout=0.1", "dropout": 0.2}, "differences has 'dropout', which is a setting of its own"),
        (
            {"layer_decay": "fc8=much", "optimizer": "sgd"},
            "layer_decay of fc8 is much; it takes a number of at least 0",
        ),
        ({"layer_decay": "fc8=-1", "optimizer": "sgd"}, "layer_decay of fc8 is -1; it takes a number of at least 0"),
        ({"layer_decay": "fc8=1"}, "layer_decay goes with every optimizer but muon"),
        ({"init_lr_factor": 0.1, "init": "none"}, "init_lr_factor is 0.1, but no init is given"),
    ],
)
def test_a_wrong_setting_is_one_line_with_the_value_and_what_is_accepted(settings, line):
    with pytest.raises(UsageError) as caught:
        recipe("modern", **settings)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


YAML_VALUES = (
    *("3", "3.0", "1.5", "1e-3", '"3"', ".inf", ".nan", "true", "no", "null", "[]", "[1, 2]", "[a, b]", "[[1]]"),
    *("{}", "{a: 1}", "{a: [1]}", "2026-01-31", "sgd", '""', "flip", "!!binary AAAA"),
)
ACCEPTED = {  # field -> YAML value -> what the recipe holds; every other value is refused
    "epochs": {"3": 3, "3.0": 3, '"3"': 3},
    "workers": {"3": 3, "3.0": 3, '"3"': 3, "null": None},
    "lr": {"3": 3.0, "3.0": 3.0, "1.5": 1.5, "1e-3": 0.001, '"3"': 3.0},
    "dropout": {"1e-3": 0.001, "null": None},
    "tensorboard": {"true": True, "no": False},
    "deterministic": {"true": True, "no": False},
    "lr_drops": {
        **{"3": (3.0,), "3.0": (3.0,), "1.5": (1.5,), "1e-3": (0.001,), '"3"': (3.0,)},
        **{"[]": (), '""': (), "[1, 2]": (1.0, 2.0)},
    },
    "optimizer": {"sgd": "sgd"},
    "augment": {"[]": "", '""': "", "flip": "flip"},
    "differences": {"[]": "", '""': "", "{}": "", "{a: 1}": "a=1"},
    "layer_decay": {"[]": "", '""': "", "{}": "", "{a: 1}": "a=1"},
    "freeze": {
        **{"3": "3", "3.0": "3.0", "1.5": "1.5", "1e-3": "1e-3", '"3"': "3", ".inf": "inf", ".nan": "nan"},
        **{"[]": "", '""': "", "[1, 2]": "1,2", "[a, b]": "a,b", "sgd": "sgd", "flip": "flip"},
    },
    "init": {
        **{"3": "3", "3.0": "3.0", "1.5": "1.5", "1e-3": "1e-3", '"3"': "3", ".inf": "inf", ".nan": "nan"},
        **{'""': "", "sgd": "sgd", "flip": "flip", "null": None},
    },
}


@pytest.mark.parametrize("value", YAML_VALUES)
@pytest.mark.parametrize("field", ACCEPTED)
def test_a_yaml_value_is_converted_or_refused_in_one_line_with_the_file(tmp_path, field, value):
    file = tmp_path / "settings.yaml"
    file.write_text(f"{field}: {value}\n")
    if value in ACCEPTED[field]:
        held, expected = getattr(recipe("cifar-19pct", file), field), ACCEPTED[field][value]
        assert (held, type(held)) == (expected, type(expected))
        return
    with pytest.raises(UsageError) as caught:
        recipe("cifar-19pct", file)
    line = rf"{re.escape(str(file))}: ({field} .*; it takes .|unknown (augmentation|{field}) '.*': .*known: )[^\n]*"
    assert re.fullmatch(line, str(caught.value))


def test_lists_and_tables_are_the_same_in_yaml_toml_and_python(tmp_path):
    (tmp_path / "a.yaml").write_text("augment: [flip, crop]\nlr_drops: []\ndifferences: {pool: 2, norm: none}\n")
    (tmp_path / "a.toml").write_text(
        'augment = ["flip", "crop"]\nlr_drops = []\n[differences]\npool = 2\nnorm = "none"\n'
    )
    settings = {"augment": ["flip", "crop"], "lr_drops": [], "differences": {"pool": 2, "norm": "none"}}
    made = [recipe("bvlc", tmp_path / "a.yaml"), recipe("bvlc", tmp_path / "a.toml"), recipe("bvlc", **settings)]
    assert made[0] == made[1] == made[2]
    assert (made[0].augment, made[0].lr_drops, made[0].differences) == ("flip,crop", (), "pool=2,norm=none")


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ({"epochs": "3"}, 3),
        ({"epochs": "1e3"}, 1000),
        ({"epochs": np.int64(3)}, 3),
        ({"lr": np.float32(0.5)}, 0.5),
        ({"lr": np.array(0.5)}, 0.5),
        ({"lr": 1}, 1.0),
        ({"lr_drops": np.array([1, 2])}, (1.0, 2.0)),
        ({"lr_drops": (1, "2")}, (1.0, 2.0)),
        ({"decay_biases": "true"}, True),
        ({"decay_biases": np.True_}, True),
    ],
)
def test_values_from_python_become_the_types_of_the_fields(settings, held):
    ((name, value),) = settings.items()
    made = [recipe("bvlc", **settings), Recipe(**settings), dataclasses.replace(Recipe(), **settings)]
    assert [(getattr(each, name), type(getattr(each, name))) for each in made] == [(held, type(held))] * 3
    assert from_json({name: json.loads(json.dumps(held))}) == Recipe(**{name: value})


@pytest.mark.parametrize(
    "settings",
    [
        *({"epochs": value} for value in (True, 1.5, "1.5", "inf", float("inf"), 10**400, np.float64(1.5), b"3", 3j)),
        *({"lr": value} for value in (True, np.True_, 10**400, "", "fast", [0.1], object())),
        *({"decay_biases": value} for value in (1, 0.0, "perhaps", np.int64(1))),
        *({"lr_drops": value} for value in ([True], [[1]], {1: 2}, "1;2", [float("nan")], True)),
        *({"optimizer": value} for value in (3, ["sgd"], True)),
        *({"network": value} for value in (True, ["modern"], {"modern": 1}, b"modern")),
        *({"freeze": value} for value in ({"conv1": 1}, True, [None], [["conv1"]])),
    ],
)
def test_python_values_of_other_types_are_refused_in_one_line(settings):
    (name,) = settings
    for make in (partial(recipe, "bvlc"), Recipe, partial(dataclasses.replace, Recipe())):
        with pytest.raises(UsageError) as caught:
            make(**settings)
        assert re.fullmatch(rf"{name} is .*; it takes [^\n]*", str(caught.value))


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(UsageError) as caught:
        Recipe(network=["modern"] * 1000)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("name", ["lr", "tensorboard", "augment", "optimizer", "lr_drops"])
def test_none_is_a_value_of_optional_fields_alone(name):
    assert Recipe(dropout=None).dropout is None
    with pytest.raises(UsageError, match=f"{name} is None; it takes"):
        Recipe(**{name: None})


@pytest.mark.parametrize("text", ["3: 4", "yes: 4", "null: 4", "epoch: 4", "2026-01-31: 4", "lr: {lr: 1}\nepoch: 4"])
def test_an_unknown_key_of_a_file_is_one_line_with_the_file(tmp_path, text):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=rf"^{re.escape(str(file))}: unknown setting '[^\n]*known: [^\n]*$"):
        recipe("modern", file)


OLD = {  # "recipe" in the config.json of a run that cuda-convnet's recipe made before settings were checked by pydantic
    **{"name": "cifar-19pct", "network": "cifar-19pct", "input_size": None, "differences": "", "resize": None},
    **{"store_size": 32, "max_bad": 0.01, "init": None, "init_lr_factor": 1.0, "freeze": "", "epochs": 140},
    **{"stop_train_error": None, "batch_size": 128, "optimizer": "velocity", "lr": 0.001, "momentum": 0.9},
    **{"adam_lr_factor": 0.1, "weight_decay": 0.004, "bias_lr_factor": 2.0, "layer_decay": "fc10=3"},
    **{"decay_biases": False, "schedule": "steps", "warmup_epochs": 0.0, "lr_drops": [120.0, 130.0]},
    **{"lr_drop_factor": 0.1, "loss": "cross_entropy", "label_smoothing": 0.0, "dropout": None, "augment": ""},
    **{"crop_scale": 0.25, "color_strength": 0.4, "pca_strength": 0.1, "gaussian_std": 4.0, "mixup": 0.0},
    **{"cutmix": 0.0, "mix_probability": 1.0, "mix_stop": 1.0, "train_scale": 1.0, "first_train_scale": 1.0},
    **{"ema": 0.0, "balance": "none", "validation": None, "test": None, "given_splits": True, "train_images": None},
    **{"evaluate_every": 10, "checkpoint_minutes": 5.0, "seed": 0, "split_seed": 0, "device": "auto"},
    **{"precision": "auto", "workers": None, "tensorboard": False},
}


def test_the_recipe_of_an_old_run_is_read_and_written_to_the_same_text():
    assert from_json(OLD) == recipe("cifar-19pct", automatic="", max_bad=0.01)
    written = dataclasses.asdict(from_json(OLD))
    assert json.dumps({name: written[name] for name in OLD}) == json.dumps(OLD)


def test_fields_that_an_older_run_does_not_have_get_their_defaults():
    assert from_json({"name": "modern", "lr": 0.02}) == Recipe(lr=0.02)


def test_a_recipe_is_frozen_and_hashable():
    assert len({Recipe(), Recipe(), Recipe(lr=1)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 1  # type: ignore[misc]


def test_an_unknown_recipe_is_answered_with_the_nearest_name():
    with pytest.raises(UsageError, match="unknown recipe 'modem': did you mean 'modern'"):
        recipe("modem")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("a.yaml", "just words"), ("b.toml", "epochs = "), ("c.yaml", "a: ["), ("d.yaml", ""), ("e.yaml", "- 1")),
        *(("f.yaml", "lr: 2026-13-01"), ("g.yaml", "a: " + "[" * 2000), ("h.yaml", "lr: !!python/object:a.b")),
    ],
)
def test_a_file_without_settings_is_named_in_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=name):
        recipe("modern", tmp_path / name)
    with pytest.raises(FileError, match=r"there is no settings file .*none\.toml"):
        recipe("modern", tmp_path / "none.toml")


def test_differences_are_converted_to_numbers_booleans_and_words():
    made = recipe("modern", differences="width=0.5, towers=1,padding=true,norm=none", dropout=0.25)
    assert made.network_differences == {"width": 0.5, "towers": 1, "padding": True, "norm": "none", "dropout": 0.25}
    assert from_json(json.loads(json.dumps(dataclasses.asdict(made)))) == made


def test_a_file_may_have_differences_and_decays_as_a_table(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("differences:\n  activation: tanh\n  pool: 2\nlayer_decay:\n  fc10: 3\n")
    made = recipe("cifar-19pct", file)
    assert made.network_differences == {"activation": "tanh", "pool": 2}
    assert made.layer_decays == {"fc10": 3.0}


def test_cuda_convnet_recipes_match_its_published_files():
    rates = [recipe("cifar-80sec").lr_drops, recipe("cifar-18pct").lr_drops, recipe("cifar-11pct").lr_drops]
    assert rates == [(8,), (120, 130), (500, 510)]
    assert recipe("cifar-13pct").layer_decays == {"conv1": 0, "conv2": 0}
    assert all((recipe(name).lr, recipe(name).weight_decay) == (0.001, 0.004) for name in RECIPES if "cifar" in name)
