"""The convolutions of bvlc in forms that give the same maps: which one cuDNN computes fastest, forward and backward.

conv1 over 3 channels, over 4 of which one is zero, and over 48 after 4 x 4 places became channels (11 x 11 / 4 is then
3 x 3 / 1). conv2, conv4 and conv5, of two groups, as they are in both memory layouts, as one convolution a tower, and
as one without groups whose weights between the towers are zero.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from alexnet.bench.worker import Work, repeated
from alexnet.device import pick_device
from device_parts.comparisons import relative
from device_parts.record import Record, in_rounds, replayed

SECONDS, ROUNDS = 0.05, 5
LIMIT = 1e-5  # error between forms in float32
# Of gradients of weights of 5 x 5. cuDNN computes some of them by an algorithm that rounds more than a sum of products,
# which no setting of torch turns off: 4.1e-4 on an H200, where kernels of 3 x 3 are right to 1.3e-6.
LIMIT_OF_5 = 2e-3
CHOICES = {"deterministic": ("deterministic", True), "without cuDNN": ("enabled", False)}
KERNELS = ("conv", "winograd", "grad", "gemm", "fft", "xmma", "cutlass")  # parts of the names of kernels that matter


@dataclass(frozen=True)
class Layer:
    """A convolution of bvlc: input channels and side, then the layer's own settings."""

    channels: int
    side: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    def images(self, count: int) -> Tensor:
        """A batch of its input."""
        return torch.randn(count, self.channels, self.side, self.side)

    def weights(self) -> Tensor:
        """Its weights."""
        return 0.05 * torch.randn(self.outputs, self.channels // self.groups, self.kernel, self.kernel)


LAYERS = {
    "conv1": Layer(3, 227, 96, 11, stride=4),
    "conv2": Layer(96, 27, 256, 5, padding=2, groups=2),
    "conv4": Layer(384, 13, 384, 3, padding=1, groups=2),
    "conv5": Layer(384, 13, 256, 3, padding=1, groups=2),
}
Form = tuple[Callable[[Tensor, Tensor], tuple[list[Tensor], list[Tensor]]], Callable[..., Tensor], torch.memory_format]
"""What makes a form's inputs and weights of the layer's, the layer on them, and their memory layout."""


def run(record: Record) -> None:
    """Check the forms, then time what the GPU does of them. cudnn.benchmark changes nothing (docs/log.md)."""
    for name, layer in LAYERS.items():
        check(record, name, layer)
    for name, layer in LAYERS.items():
        measure(record, name, layer)


def forms(layer: Layer) -> dict[str, Form]:
    """By name."""
    last, first = torch.channels_last, torch.contiguous_format
    plain = partial(F.conv2d, stride=layer.stride, padding=layer.padding)
    grouped = partial(plain, groups=layer.groups)
    if layer.groups == 1:
        return {
            "3 channels": (as_it_is, plain, last),
            "4 channels": (with_a_fourth, plain, last),
            "48 channels": (space_to_depth, F.conv2d, last),
        }
    return {
        "grouped, NHWC": (as_it_is, grouped, last),
        "grouped, NCHW": (as_it_is, grouped, first),
        "two towers": (as_it_is, partial(towers, plain), last),
        "block-diagonal": (block_diagonal, plain, last),
    }


def as_it_is(x: Tensor, w: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Unchanged."""
    return [x], [w]


def with_a_fourth(x: Tensor, w: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """A channel of zeros beside red, green and blue."""
    return [F.pad(x, (0, 0, 0, 0, 0, 1))], [F.pad(w, (0, 0, 0, 0, 0, 1))]


def space_to_depth(x: Tensor, w: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """227 px and kernels of 11 are padded to 228 and 12; then each 4 x 4 places are channels of one."""
    return [F.pixel_unshuffle(F.pad(x, (0, 1, 0, 1)), 4)], [F.pixel_unshuffle(F.pad(w, (0, 1, 0, 1)), 4)]


def towers(convolve: Callable[..., Tensor], x: Tensor, w: Tensor) -> Tensor:
    """One convolution of each half of the maps."""
    return torch.cat([convolve(*each) for each in zip(x.chunk(2, 1), w.chunk(2, 0), strict=True)], 1)


def block_diagonal(x: Tensor, w: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Zeros where a tower would see the other's maps."""
    upper, lower = w.chunk(2, 0)
    none = torch.zeros_like(upper)
    return [x], [torch.cat([torch.cat([upper, none], 1), torch.cat([none, lower], 1)], 0)]


def check(record: Record, name: str, layer: Layer) -> None:
    """Two rows for each form, and what computed its gradient."""
    for form, (maps, gradients, kernels) in errors(layer, record.device).items():
        record.add(f"{name}, {form}: maps", "error", maps, at_most=LIMIT)
        loose = layer.kernel == 5 and not record.small and form != "without cuDNN"
        limit = LIMIT_OF_5 if loose else LIMIT
        record.add(f"{name}, {form}: gradients of the weights", "error", gradients, at_most=limit, note=kernels)


def errors(layer: Layer, device: str) -> dict[str, tuple[float, float, str]]:
    """By form, in float32, the errors of maps and weights' gradients beside the layer in float64 on the processor.

    The third is the names of the kernels that computed both on a GPU. "without cuDNN" is torch's own convolution, by
    matrix products; "deterministic" is what cuDNN takes where it may not add up in any order.
    """
    place = pick_device(device)
    torch.manual_seed(0)
    x, w = layer.images(2), layer.weights()
    tried = forms(layer)
    (reference, convolve, layout), *_ = tried.values()
    right = _gradient(reference, convolve, x.double(), w.double())
    found = {form: _errors(each, x.to(place), w.to(place), right) for form, each in tried.items()}
    if place.type == "cuda":
        for how, choice in CHOICES.items():
            with chosen(*choice):
                found[how] = _errors((reference, convolve, layout), x.to(place), w.to(place), right)
    return found


def _errors(form: Form, x: Tensor, w: Tensor, right: tuple[Tensor, Tensor]) -> tuple[float, float, str]:
    make, convolve, layout = form
    x, w = (each.contiguous(memory_format=layout) for each in (x, w))
    both, kernels = traced(lambda: _gradient(make, convolve, x, w), x.device.type)
    maps, gradients = (relative(one, other) for one, other in zip(both, right, strict=True))
    return maps, gradients, ", ".join(kernels)


def traced(work: Callable[[], tuple[Tensor, Tensor]], device: str) -> tuple[tuple[Tensor, Tensor], list[str]]:
    """The result of `work`, and on a GPU the names of its convolutions' kernels, each once and cut to be readable."""
    result = work()
    if device != "cuda":
        return result, []
    try:
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            work()
            torch.cuda.synchronize()
        names = dict.fromkeys(event.key for event in trace.key_averages())
    except RuntimeError as error:  # names are nothing to fail for
        return result, [f"kernels not known: {error}"[:100]]
    return result, [name[:60] for name in names if any(word in name.lower() for word in KERNELS)]


@contextlib.contextmanager
def chosen(name: str, value: bool) -> Iterator[None]:
    """Inside the block one of cuDNN's settings is this."""
    before = getattr(torch.backends.cudnn, name)
    setattr(torch.backends.cudnn, name, value)
    try:
        yield
    finally:
        setattr(torch.backends.cudnn, name, before)


def _gradient(
    make: Callable[..., tuple[list[Tensor], list[Tensor]]], convolve: Callable[..., Tensor], x: Tensor, w: Tensor
) -> tuple[Tensor, Tensor]:
    """The map, and the gradient of the layer's own weights for the map's squares."""
    w = w.requires_grad_()
    y = torch.cat([convolve(*each) for each in zip(*make(x, w), strict=True)], 1)
    return y, torch.autograd.grad(y.square().sum(), w)[0]


def measure(record: Record, name: str, layer: Layer) -> None:
    """Microseconds of a forward pass, and of one with the gradients that training needs, in turn."""
    works: dict[str, Work] = {}
    for form, parts in forms(layer).items():
        works |= {f"{form}: {what}": work for what, work in passes(record, layer, parts).items()}
    for title, found in in_rounds(works, 1 if record.small else ROUNDS).items():
        record.add(f"{name}, {title}", "us", *(1e6 * each for each in found))


def passes(record: Record, layer: Layer, form: Form) -> dict[str, Work]:
    """Forward, and forward with backward, in bfloat16; conv1's input, the images, needs no gradient."""
    make, convolve, layout = form
    count, seconds = (2, 0.0) if record.small else (128, SECONDS)
    made = make(layer.images(count), layer.weights())
    x, w = ([_placed(each, record.device, layout) for each in tensors] for tensors in made)
    for each in w if layer.channels == 3 else [*x, *w]:
        each.requires_grad_()
    upstream = [torch.randn_like(convolve(*each)) for each in zip(x, w, strict=True)]

    @torch.no_grad()
    def forward() -> None:
        for each in zip(x, w, strict=True):
            convolve(*each)

    def both() -> None:
        for one, weight, gradient in zip(x, w, upstream, strict=True):
            asked = [each for each in (one, weight) if each.requires_grad]
            torch.autograd.grad(convolve(one, weight), asked, gradient)

    works = {"forward": forward, "forward and backward": both}
    if record.device == "cuda":
        works = {name: replayed(work) for name, work in works.items()}
    return {name: repeated(work, 1, seconds, record.device) for name, work in works.items()}


def _placed(tensor: Tensor, device: str, layout: torch.memory_format) -> Tensor:
    return tensor.detach().to(device, torch.bfloat16).contiguous(memory_format=layout)
