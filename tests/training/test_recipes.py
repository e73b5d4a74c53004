import dataclasses
import json

import pytest

from alexnet.errors import UsageError
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.settings import Recipe, from_json


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_survives_json_and_tells_its_command(name):
    made = recipe(name)
    assert made.name == name
    assert from_json(json.loads(json.dumps(dataclasses.asdict(made)))) == made
    assert "alexnet train" in RECIPES[name].__doc__


def test_every_field_says_what_it_is():
    assert all(field.metadata["help"] for field in dataclasses.fields(Recipe))


def test_settings_are_taken_and_none_leaves_the_recipes_own():
    made = recipe("modern", epochs=3, lr=None)
    assert (made.epochs, made.lr) == (3, recipe("modern").lr)


def test_drops_and_warm_up_keep_their_place_when_the_epochs_change():
    assert recipe("modern", epochs=20).warmup_epochs == pytest.approx(recipe("modern").warmup_epochs / 5)
    assert recipe("torchvision", epochs=9).lr_drops == (3.0, 6.0)
    assert recipe("torchvision", epochs=9, lr_drops="1,2").lr_drops == (1.0, 2.0)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [(".yaml", "epochs: 7\nlr: 1e-3\naugment: flip\n"), (".toml", 'epochs = 7\nlr = 1e-3\naugment = "flip"\n')],
)
def test_a_file_sets_fields_and_the_command_line_wins(tmp_path, suffix, text):
    file = tmp_path / f"settings{suffix}"
    file.write_text(text)
    made = recipe("modern", file, epochs=9)
    assert (made.epochs, made.lr, made.augmentations) == (9, 0.001, ("flip",))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"epochs": 0}, "epochs is 0; it takes a number above 0"),
        ({"epochs": "many"}, "epochs is 'many'; it takes a whole number"),
        ({"epoch": 3}, "unknown setting 'epoch': did you mean 'epochs'?"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg': did you mean 'sgd'?"),
        ({"augment": "flip,colour"}, "unknown augmentation 'colour': did you mean 'color'?"),
        ({"augment": "crop,resized_crop"}, "augment has both 'crop' and 'resized_crop'; keep one of them"),
        ({"dropout": 1.5}, "dropout is 1.5; it takes a share from 0 to 1"),
        ({"lr": float("nan")}, "lr is nan; it takes a number above 0"),
        ({"crop_scale": 0.0}, "crop_scale is 0.0"),
        ({"first_train_scale": 0.9}, "first_train_scale 0.9 is above train_scale"),
        ({"seed": -1}, "seed is -1; it takes a whole number from 0 to 4294967295"),
        ({"lr": float("inf")}, "lr is inf; it takes a number above 0"),
        ({"momentum": 1.0}, "momentum is 1.0; muon takes a number between 0 and 1"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"loss": "logistic"}, "label_smoothing goes with loss cross_entropy only"),
        ({"workers": -1}, "workers is -1; it takes 0 or more"),
        ({"stop_train_error": 25.0}, "stop_train_error is 25.0; it takes a share from 0 to 1"),
        ({"train_images": 0}, "train_images is 0; it takes 1 or more"),
        ({"differences": "width"}, "differences has 'width'; it takes name=value"),
        ({"differences": "width=1,width=2"}, "differences has 'width=2'; it takes name=value, each name once"),
        ({"differences": "input_size=64"}, "differences has 'input_size', which is a setting of its own"),
        ({"differences": "dropout=0.1", "dropout": 0.2}, "differences has 'dropout', which is a setting of its own"),
        ({"layer_decay": "fc8=much", "optimizer": "sgd"}, "layer_decay of fc8 is much; it takes 0 or more"),
        ({"layer_decay": "fc8=-1", "optimizer": "sgd"}, "layer_decay of fc8 is -1; it takes 0 or more"),
        ({"layer_decay": "fc8=1"}, "layer_decay goes with every optimizer but muon"),
    ],
)
def test_a_wrong_setting_is_answered_with_what_is_accepted(settings, line):
    with pytest.raises(UsageError) as caught:
        recipe("modern", **settings)
    assert str(caught.value).startswith(line)


def test_a_wrong_name_is_answered_with_the_nearest_recipe():
    with pytest.raises(UsageError, match="unknown recipe 'modem': did you mean 'modern'"):
        recipe("modem")


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "just words"), ("b.toml", "epochs = "), ("c.yaml", "a: [")])
def test_a_file_that_holds_no_settings_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=name):
        recipe("modern", tmp_path / name)
    with pytest.raises(UsageError, match=r"there is no settings file .*none\.toml"):
        recipe("modern", tmp_path / "none.toml")


def test_differences_are_numbers_truths_and_words_as_the_network_takes_them():
    made = recipe("modern", differences="width=0.5, towers=1,padding=true,norm=none", dropout=0.25)
    assert made.network_differences == {"width": 0.5, "towers": 1, "padding": True, "norm": "none", "dropout": 0.25}
    assert from_json(json.loads(json.dumps(dataclasses.asdict(made)))) == made


def test_a_file_may_write_differences_and_decays_as_a_table(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("differences:\n  activation: tanh\n  pool: 2\nlayer_decay:\n  fc10: 3\n")
    made = recipe("cifar-19pct", file)
    assert made.network_differences == {"activation": "tanh", "pool": 2}
    assert made.layer_decays == {"fc10": 3.0}


def test_cuda_convnets_protocols_are_those_of_its_files():
    rates = [recipe("cifar-80sec").lr_drops, recipe("cifar-18pct").lr_drops, recipe("cifar-11pct").lr_drops]
    assert rates == [(8,), (120, 130), (500, 510)]
    assert recipe("cifar-13pct").layer_decays == {"conv1": 0, "conv2": 0}
    assert all((recipe(name).lr, recipe(name).weight_decay) == (0.001, 0.004) for name in RECIPES if "cifar" in name)
