"""Settings that follow the number of training images."""

import dataclasses

import pytest

from alexnet.training.automatic import (
    FINE_MIXING,
    FINE_RATE,
    FINE_SHARE,
    LARGE_DROPOUT,
    LARGE_MIXING,
    LEAST_STEPS,
    resolve,
)
from alexnet.training.recipes import RECIPES, recipe
from alexnet.training.settings import Recipe
from alexnet.weights.pretrained import OWN

SIZES = [*range(2, 70), 85, 170, 340, 500, 960, 1020, 50_000]


def test_a_thousand_images_keep_the_recipes_numbers():
    fresh = recipe(init="none")
    assert resolve(fresh, 1020) == fresh
    assert resolve(recipe(epochs=20, init="none"), 1020).evaluate_every == 2
    assert (recipe().batch_size, recipe().epochs, recipe().evaluate_every, recipe().warmup_epochs) == (64, 100, 10, 5)


@pytest.mark.parametrize("images", SIZES)
def test_any_number_of_images_gets_batches_that_fit_and_enough_steps(images):
    chosen = resolve(recipe(init="none"), images)
    assert min(images, 16) <= chosen.batch_size <= min(images, 256)
    assert chosen.epochs * (images // chosen.batch_size) >= LEAST_STEPS
    assert 10 <= chosen.epochs / chosen.evaluate_every < 13
    assert chosen.warmup_epochs / chosen.epochs == pytest.approx(0.05)


def test_a_large_test_part_is_evaluated_less_often():
    every = [resolve(recipe(), 1000, 64, judged).evaluate_every for judged in (0, 340, 2000, 10_000, 10**6)]
    assert every == [4, 4, 4, 20, 40]


def test_more_images_never_get_smaller_batches_or_more_epochs():
    chosen = [
        resolve(recipe(init="none"), images)
        for images in (2, 5, 16, 85, 170, 340, 500, 960, 10_000, 20_000, 50_000, 10**6)
    ]
    assert [each.batch_size for each in chosen] == [2, 5, 16, 16, 16, 16, 32, 64, 64, 128, 256, 256]
    epochs = [each.epochs for each in chosen]
    assert epochs == sorted(epochs, reverse=True)


def test_eighty_five_photos_take_twice_the_epochs_of_a_thousand():
    chosen = resolve(recipe(init="none"), 85)
    assert (chosen.batch_size, chosen.epochs, chosen.evaluate_every) == (16, 186, 18)
    assert resolve(recipe(batch_size=8, init="none"), 85).epochs == 186


def test_few_photos_begin_from_the_packages_weights_and_take_a_shorter_run():
    for images in (2, 85, 1020, 20_000):
        chosen, fresh = resolve(recipe(), images), resolve(recipe(init="none"), images)
        assert (chosen.init, chosen.init_lr_factor, chosen.mix_probability) == (OWN, FINE_RATE, FINE_MIXING)
        assert chosen.epochs == pytest.approx(FINE_SHARE * fresh.epochs, abs=1)
        assert chosen.batch_size == fresh.batch_size
        assert chosen.warmup_epochs / chosen.epochs == pytest.approx(0.05)


@pytest.mark.parametrize(
    "given",
    [{"init": "none"}, {"network": "bvlc"}, {"differences": "dense_units=64"}, {"init": "runs/mine"}, {"name": "bvlc"}],
    ids=str,
)
def test_other_runs_begin_as_they_are_told(given):
    chosen = resolve(recipe(**given), 1020)
    assert (chosen.init, chosen.init_lr_factor) == (None if given.get("init") != "runs/mine" else "runs/mine", 1.0)
    assert chosen.epochs == 100 or given.get("name") == "bvlc"


def test_many_images_begin_from_random_weights():
    assert resolve(recipe(), 20_001).init is None
    assert resolve(recipe(), 20_001) == dataclasses.replace(
        resolve(recipe(init="none"), 20_001), automatic=recipe().automatic
    )


def test_many_images_are_mixed_and_left_out_less():
    few, many = resolve(recipe(), 20_000), resolve(recipe(), 50_000)
    assert (few.mix_probability, few.dropout) == (FINE_MIXING, None)
    assert (many.mix_probability, many.dropout) == (LARGE_MIXING, LARGE_DROPOUT)
    given = resolve(recipe(dropout=0.4, mix_probability=0.6), 50_000)
    assert (given.dropout, given.mix_probability) == (0.4, 0.6)
    assert resolve(recipe(network="bvlc"), 50_000).dropout is None


def test_settings_of_the_beginning_that_are_given_stay():
    chosen = resolve(recipe(init_lr_factor=0.5, mix_probability=0.6, epochs=7), 85)
    assert (chosen.init, chosen.init_lr_factor, chosen.mix_probability, chosen.epochs) == (OWN, 0.5, 0.6, 7)


def test_small_images_get_an_input_of_twice_their_side():
    assert [resolve(recipe(), 1020, side).input_size for side in (32, 64, 80, 96, 256)] == [64, 128, 160, None, None]
    assert resolve(recipe(input_size=96), 1020, 64).input_size == 96
    assert resolve(recipe(network="bvlc"), 1020, 64).input_size is None


def test_settings_that_are_given_stay():
    given = {"batch_size": 8, "epochs": 3, "evaluate_every": 2, "warmup_epochs": 1.0}
    for name, value in given.items():
        chosen = resolve(recipe(**{name: value}), 40)
        assert getattr(chosen, name) == value
    assert resolve(recipe(**given, init="none"), 40) == recipe(**given, init="none")
    assert resolve(Recipe(batch_size=64), 40) == Recipe(batch_size=64)


def test_given_epochs_scale_the_warm_up_once():
    assert resolve(recipe(epochs=40), 40).warmup_epochs == 2.0


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"modern"}))
def test_of_a_published_recipe_only_a_batch_above_the_images_changes(name):
    published = recipe(name)
    assert resolve(published, 5000) == published
    assert resolve(published, 30) == dataclasses.replace(published, batch_size=30)
    assert resolve(recipe(name, batch_size=64), 30).batch_size == 64  # refused later: it was asked for
