"""Subject "compare": the perceptual distance of two images, beside the package lpips."""

import warnings
from collections.abc import Iterator

import torch

from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.table import Row, duration, times_as_fast
from alexnet.bench.worker import Work, repeated
from alexnet.inference.perceptual import PerceptualDistance
from alexnet.networks import create

CASES = {"two images of 256 px": (1, 256), "16 pairs of 64 px": (16, 64)}  # pairs a call, side in pixels


def measure(options: Options) -> Iterator[Row]:
    """Weighted distances in float32 through torchvision's network; all weights are random."""
    contenders = {}
    for title, (count, side) in CASES.items():
        settings = options.settings(count=count, side=side)
        ours = Contender(f"{title}: ours", f"{__name__}:distance", settings)
        theirs = Contender(f"{title}: lpips", f"{__name__}:lpips_distance", settings, ours=False)
        contenders[title] = (ours, theirs)

    def rows(found: dict[str, Series]) -> Iterator[Row]:
        for title, (ours, theirs) in contenders.items():
            yield from (duration("compare", found[each.name]) for each in (ours, theirs))
            yield times_as_fast("compare", f"{title}: ours to lpips", found[ours.name], found[theirs.name])

    yield from measured("compare", [each for both in contenders.values() for each in both], options.repeats, rows)


def distance(count: int, side: int, seconds: float, device: str) -> Work:
    """Our distance of `count` pairs of `side` x `side` pixels. Unit: call."""
    channels = (64, 192, 384, 256, 256)
    network = create("one_weird_trick", 2).to(device)
    module = PerceptualDistance(network, [torch.rand(each) for each in channels])
    pair = torch.rand(2, count, 3, side, side, device=device)
    return repeated(torch.no_grad()(lambda: module(pair[0], pair[1])), 1, seconds, device)


def lpips_distance(count: int, side: int, seconds: float, device: str) -> Work:
    """That of lpips, random weights. Unit: call."""
    import lpips

    with warnings.catch_warnings():  # it calls torchvision in a way that is deprecated
        warnings.simplefilter("ignore")
        module = lpips.LPIPS(net="alex", pnet_rand=True, pretrained=False, verbose=False).to(device)
    pair = torch.rand(2, count, 3, side, side, device=device)
    return repeated(torch.no_grad()(lambda: module(pair[0], pair[1], normalize=True)), 1, seconds, device)
