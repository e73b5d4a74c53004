"""Which layers of a network one weird trick splits among several processes (Krizhevsky 2014, section 4)."""

from torch import nn

from alexnet.networks.layers import Network

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout, nn.BatchNorm1d)
"""Layers that compute each unit by itself, so that they may stand between two dense layers that are split."""


def split_layers(network: Network, ranks: int) -> dict[str, str]:
    """The layers that one weird trick splits among the processes, by path, in their order: dense layers "rows" or
    "columns" as their input lies, all others "columns".

    A dense layer is split where its units divide; its output stays in columns where only layers follow that compute
    each unit by itself, up to another one that is split.
    """
    stages = [stage for _, stage in network.stages()]
    dense = [place for place, stage in enumerate(stages) if isinstance(stage, nn.Linear)]
    found: dict[int, str] = {}
    columns = False
    for place, after in zip(dense, [*dense[1:], None], strict=True):
        split = _splits(stages[place], ranks)
        if split:
            found[id(stages[place])] = "columns" if columns else "rows"
        between = stages[place + 1 : after]
        columns = split and after is not None and _splits(stages[after], ranks) and _by_unit(between)
        if columns:
            found |= {id(stage): "columns" for stage in between}
    path_of = {id(module): path for path, module in network.named_modules()}
    return {path_of[id(stage)]: found[id(stage)] for stage in stages if id(stage) in found}


def _by_unit(stages: list[nn.Module]) -> bool:
    trained = all(each.requires_grad for stage in stages for each in stage.parameters())
    return trained and all(isinstance(stage, ELEMENTWISE) for stage in stages)


def _splits(stage: nn.Module, ranks: int) -> bool:
    trained = all(each.requires_grad for each in stage.parameters())
    return isinstance(stage, nn.Linear) and stage.out_features % ranks == 0 and trained


def goes_back(network: Network, split: dict[str, str], path: str) -> bool:
    """Whether a split layer's units go back to the processes that have the images: no dense layer takes columns."""
    after = list(split)[list(split).index(path) + 1 :]
    dense = (split[each] for each in after if isinstance(network.get_submodule(each), nn.Linear))
    return next(dense, "rows") == "rows"
