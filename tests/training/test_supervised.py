import pytest
import torch
import torch.nn.functional as F

from alexnet.runs.checkpoint import Progress
from alexnet.training.loss import loss_value
from alexnet.training.recipes import recipe
from alexnet.training.supervised import train_size, warn_if_not_learning

pytestmark = pytest.mark.usefixtures("shown_log")


def sizes(epochs: int, input_size: int, **settings) -> list[int]:
    settings = recipe("modern", epochs=epochs, **settings)
    return [train_size(settings, epoch, input_size, least=63) for epoch in range(epochs)]


def test_training_size_grows_in_steps_of_16():
    grown = sizes(100, 192)
    assert (grown[0], grown[-1]) == (96, 160)
    assert grown == sorted(grown)
    assert set(grown) == {96, 112, 128, 144, 160}
    assert grown[80] == 160


def test_training_size_stays_between_the_networks_minimum_and_the_input_size():
    assert set(sizes(10, 64)) == {63}
    assert set(sizes(10, 100, train_scale=1.0, first_train_scale=1.0)) == {100}


def test_cross_entropy_of_uniform_logits_is_ln_k():
    targets = torch.tensor([[1.0, 0, 0, 0], [0.3, 0.7, 0, 0]])
    loss = loss_value(recipe("modern", label_smoothing=0.2), torch.zeros(2, 4), targets, None)
    assert loss.item() == pytest.approx(torch.tensor(4.0).log().item())


def test_logistic_loss_sums_independent_units():
    logits, targets = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.0]])
    loss = loss_value(recipe("modern", loss="logistic", label_smoothing=0.0), logits, targets, None)
    by_hand = -(F.logsigmoid(logits[0, 0]) + F.logsigmoid(-logits[0, 1]) + F.logsigmoid(-logits[0, 2]))
    assert loss.item() == pytest.approx(by_hand.item())


def test_class_weights_scale_the_loss_of_their_class():
    logits, targets = torch.zeros(2, 2), torch.eye(2)
    settings = recipe("modern", label_smoothing=0.0)
    weighed = loss_value(settings, logits, targets, torch.tensor([3.0, 1.0]))
    assert weighed.item() == pytest.approx(2 * torch.tensor(2.0).log().item())


@pytest.mark.parametrize(("loss", "epoch", "said"), [(2.3, 10, True), (2.0, 10, False), (2.3, 9, False)])
def test_a_network_that_does_not_learn_is_warned_about_once(caplog, loss, epoch, said):
    warn_if_not_learning(recipe("modern", epochs=100), Progress(epoch=epoch, rows=[{"train_loss": loss}]), classes=10)
    assert ("not learning" in caplog.text) == said
