from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from alexnet.training.loop import loss_value, train_size, warn_if_not_learning
from alexnet.training.recipes import recipe

pytestmark = pytest.mark.usefixtures("shown_log")


def sizes(epochs: int, input_size: int, **settings) -> list[int]:
    preprocessing = SimpleNamespace(input_size=input_size)
    run = SimpleNamespace(
        recipe=recipe("modern", epochs=epochs, **settings),
        loader=SimpleNamespace(preprocessing=preprocessing),
        network=SimpleNamespace(least_input=63),
    )
    return [train_size(run, epoch) for epoch in range(epochs)]


def test_training_images_grow_from_the_first_scale_to_the_last_in_steps_of_16():
    grown = sizes(100, 192)
    assert (grown[0], grown[-1]) == (96, 160)
    assert grown == sorted(grown)
    assert set(grown) == {96, 112, 128, 144, 160}
    assert grown[80] == 160


def test_training_images_are_never_smaller_than_a_network_takes_nor_larger_than_the_input():
    assert set(sizes(10, 64)) == {63}
    assert set(sizes(10, 100, train_scale=1.0, first_train_scale=1.0)) == {100}


def test_cross_entropy_of_a_uniform_guess_is_ln_k_whatever_the_targets():
    targets = torch.tensor([[1.0, 0, 0, 0], [0.3, 0.7, 0, 0]])
    loss = loss_value(recipe("modern", label_smoothing=0.2), torch.zeros(2, 4), targets, None)
    assert loss.item() == pytest.approx(torch.tensor(4.0).log().item())


def test_logistic_loss_is_that_of_independent_units_summed():
    logits, targets = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    loss = loss_value(recipe("modern", loss="logistic", label_smoothing=0.0), logits, targets, None)
    by_hand = -(F.logsigmoid(logits[0, 0]) + F.logsigmoid(-logits[0, 1]) + F.logsigmoid(-logits[0, 2]))
    assert loss.item() == pytest.approx(by_hand.item())


def test_class_weights_weigh_the_loss_of_their_class():
    logits, targets = torch.zeros(2, 2), torch.eye(2)
    settings = recipe("modern", label_smoothing=0.0)
    weighed = loss_value(settings, logits, targets, torch.tensor([3.0, 1.0]))
    assert weighed.item() == pytest.approx(2 * torch.tensor(2.0).log().item())


@pytest.mark.parametrize(("loss", "epoch", "said"), [(2.3, 10, True), (2.0, 10, False), (2.3, 9, False)])
def test_not_learning_is_said_once_after_a_tenth_of_the_run_and_the_warm_up(capsys, loss, epoch, said):
    store = SimpleNamespace(class_names=[str(n) for n in range(10)])
    run = SimpleNamespace(recipe=recipe("modern", epochs=100), loader=SimpleNamespace(store=store))
    warn_if_not_learning(run, SimpleNamespace(epoch=epoch, rows=[{"train_loss": loss}]))
    assert ("not learning" in capsys.readouterr().err) == said
