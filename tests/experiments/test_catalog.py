"""Every experiment of the table can be run as it is written: its recipes hold, its networks can be made."""

import dataclasses

import pytest
import torch

from alexnet.data.form import Form
from alexnet.errors import UsageError
from alexnet.experiments.catalog import EXPERIMENTS, experiment, listed
from alexnet.experiments.experiment import Job
from alexnet.networks import create
from alexnet.pretraining.settings import Settings
from alexnet.training.optimizer import parameter_groups
from alexnet.training.recipes import recipe
from alexnet.training.settings import from_json
from alexnet.training.task import preprocessing_of

NAMES = (
    *("relu-vs-tanh", "remedies", "pretraining", "article", "augmentation", "lrn", "lrn-kinds", "overlapping-pool"),
    *("dropout", "weight-decay", "views", "cuda-convnet"),
)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_every_arms_recipe_holds_and_its_network_can_be_made(name: str, quick: bool) -> None:
    made = experiment(name, quick)
    assert made.name == name
    for study in made.studies:
        begins = [None if arm.pretrained is None else str(arm.pretrained) for arm in study.trained()]
        jobs = [Job(study, arm, 1, init=init) for arm, init in zip(study.trained(), begins, strict=True)]
        recipes = [job.recipe for job in jobs]
        assert all(Settings(**arm.pretrained) for arm in study.trained() if arm.pretrained is not None)
        assert len(set(recipes)) == len(recipes)  # no arm is another one
        for each in recipes:
            assert from_json(dataclasses.asdict(each)) == each
            with torch.device("meta"):
                network = create(each.network, 10, each.input_size, **each.network_differences)
            parameter_groups(network, each)
            assert preprocessing_of(network, each, Form(each.store_size or 256)).resize <= (each.store_size or 256)


@pytest.mark.parametrize("name", NAMES)
def test_quick_asks_the_same_question_of_the_same_arms_in_less(name: str) -> None:
    whole, quick = experiment(name, False), experiment(name, True)
    assert whole.seeds >= 3 >= quick.seeds
    assert whole.across is not None or len(whole.studies) == len(quick.studies)
    for one, other in zip(whole.studies, quick.studies, strict=whole.across is None):
        assert {arm.name for arm in other.arms} <= {arm.name for arm in one.arms}
        assert other.arms[0].name == one.arms[0].name
        assert other.base.epochs <= one.base.epochs


def test_the_list_has_every_experiment_with_its_question_and_its_published_figure() -> None:
    assert tuple(EXPERIMENTS) == NAMES
    assert [each["name"] for each in listed()] == list(NAMES)
    assert all(each["question"].endswith("?") and each["published"].endswith(".") for each in listed())
    assert all(each["quick_runs"] <= each["runs"] for each in listed())
    assert all(each["quick_minutes"] < each["minutes"] for each in listed())


def test_an_unknown_experiment_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown experiment 'relu-vs-than': did you mean 'relu-vs-tanh'"):
        experiment("relu-vs-than")


def test_the_activations_are_compared_without_any_regularisation() -> None:
    base = experiment("relu-vs-tanh").studies[0].base
    assert (base.weight_decay, base.layer_decay, base.augment, base.dropout) == (0.0, "", "", None)
    assert base.stop_train_error == 0.25


def test_cuda_convnets_networks_are_trained_by_their_own_protocols() -> None:
    study = experiment("cuda-convnet").studies[0]
    for arm in study.arms:
        ours = Job(study, arm, 0).recipe
        assert ours == dataclasses.replace(recipe(arm.name), name=ours.name, automatic="")
