import pytest
import torch

from alexnet.device import autocast, has_bfloat16, pick_device, pick_precision, whole_float32
from alexnet.errors import UsageError


def test_auto_takes_a_gpu_where_there_is_one_and_else_the_processor():
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device("auto").type == kind


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match="device"):
        pick_device(name)


def test_auto_precision_is_what_the_device_computes_in():
    device = torch.device("cpu")
    assert pick_precision("auto", device) == (torch.bfloat16 if has_bfloat16(device) else torch.float32)
    assert pick_precision("float32", device) == torch.float32
    with pytest.raises(UsageError, match="unknown precision 'fp16'"):
        pick_precision("fp16", device)


def test_autocast_computes_products_in_the_type_asked_for():
    a = torch.ones(2, 2)
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), torch.float32):
        assert (a @ a).dtype == torch.float32


def test_float32_is_whole_on_a_gpu_even_where_a_program_asked_for_less():
    try:
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        torch.set_float32_matmul_precision("high")
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        whole_float32()
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert not torch.backends.cuda.matmul.allow_tf32  # the older settings, which must agree
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = True  # torch's own
        torch.backends.cudnn.conv.fp32_precision = "tf32"


@pytest.mark.cuda
def test_picking_a_gpu_makes_float32_whole():
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    pick_device("cuda")
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"


@pytest.mark.cuda
def test_a_network_trains_on_the_gpu():
    import alexnet

    network = alexnet.create("modern", 3).cuda()
    with autocast(torch.device("cuda"), pick_precision("auto", torch.device("cuda"))):
        loss = network(torch.randn(4, 3, 64, 64, device="cuda")).float().logsumexp(1).mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_deterministic_holds_within_the_block_and_names_what_cannot_be():
    from alexnet.device import deterministic

    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    with (
        pytest.raises(UsageError, match=r"deterministic: put_ has no deterministic form on this device; leave"),
        deterministic(),
    ):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    with pytest.raises(RuntimeError, match="something else"), deterministic():
        raise RuntimeError("something else")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
