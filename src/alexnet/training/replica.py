"""A network's weights as one of several processes holds them, and the replica that computes with them."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from alexnet.device import autocast, computed_parameters
from alexnet.networks.layers import Network
from alexnet.processes.together import Together
from alexnet.training.across import DropoutAcross, NormAcross, SplitDense
from alexnet.training.gathering import gather_optimizer, scatter_optimizer
from alexnet.training.optimizer import Muon, average_decay, copy_buffers
from alexnet.training.shares import Shares, muon_cost
from alexnet.training.splitting import goes_back
from alexnet.training.task import State
from alexnet.training.working import WorkingWeights


class ParallelWeights(WorkingWeights):
    """A network's weights in the type it computes in, as one of several processes holds them.

    The replica's parameters are the values that compute; the network's own are the master, in float32, of which this
    process's share is up to date, and the rest after `gather`.
    """

    network: Network

    def __init__(self, state: State, together: Together, split: dict[str, str]) -> None:
        """split: the layers that are split, as `alexnet.training.splitting.split_layers` found them."""
        self.network, self.device, self.dtype = state.network, state.device, state.dtype
        self.together, self.whole, self.average, self.split = together, state.optimizer, state.average, split
        self.copies, self._follows = {}, False
        self.shares = list(self._shares())
        if self.average is not None:
            self._hold_average(self.average)
        self.local = self._local_optimizer()
        self._stand_ins = self._computing_parameters()
        self.replica = self._replica()
        self.refresh()

    # --- what a step does ---

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's output for this process's images (N / K, 3, H, W): float32, or float64 if they are."""
        self._take_modes()
        with autocast(self.device, self.dtype):
            output: Tensor = self.replica(inputs)
        return output if output.dtype == torch.float64 else output.float()

    def backward(self, loss: Tensor) -> None:
        """Give the pieces of this process the gradients of the mean of all processes' losses."""
        self.replica.zero_grad(set_to_none=True)
        (loss / self.together.ranks).backward()  # type: ignore[no-untyped-call]
        for shares in self.shares:
            gradients = [self._stand_ins[id(tensor)].grad for tensor in shares.tensors]
            if shares.exchanged:
                shares.sum_gradients(gradients)
            else:
                shares.take_gradient(gradients[0])

    def _take_modes(self) -> None:
        """Let each layer of the replica train where the network's trains: BatchNorms of frozen layers do not."""
        for path, theirs in self.network.named_modules():
            self.replica.get_submodule(path).train(theirs.training)

    def prepare(self, optimizer: torch.optim.Optimizer, decay: float, step: int) -> None:
        """Nothing: `step` prepares the optimizer of this process's share, and `follow` moves the average."""

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's step on this process's share, and the other shares' new values."""
        for mine, theirs in zip(self.local.param_groups, optimizer.param_groups, strict=True):
            mine |= {name: value for name, value in theirs.items() if name != "params"}
        self.local.step()
        for shares in self.shares:
            shares.publish()

    @torch.no_grad()
    def follow(self, average: nn.Module, decay: float, step: int) -> None:
        """Move this process's share of the moving average."""
        for shares in self.shares:
            assert shares.average is not None
            shares.owned(shares.average).lerp_(shares.owned(shares.master), 1 - average_decay(decay, step))
        copy_buffers(average, self.network)

    # --- between steps ---

    @torch.no_grad()
    def gather(self, optimizer: bool = False) -> None:
        """Make the network, its average and, if asked for, the optimizer's state whole in every process."""
        for shares in self.shares:
            if not (shares.exchanged and shares.compute is shares.master):
                shares.gather(shares.master, "state")
            if shares.average is not None:
                shares.gather(shares.average, "state")
        for buffer in self._split_buffers():
            self.together.gather_into(buffer, self._own(buffer).clone(), "state")
        if self.average is not None:
            copy_buffers(self.average, self.network)
        if optimizer:
            gather_optimizer(self.whole, self.local, self.shares, self.together)

    def release(self) -> None:
        """Forget the optimizer's state of the other processes."""
        self.whole.state.clear()

    @torch.no_grad()
    def refresh(self) -> None:
        """After the network and the optimizer were filled, whole: take this process's share of them."""
        for shares in self.shares:
            if shares.compute is not shares.master:
                shares.compute.copy_(shares.master)
        for parameter in self.network.parameters():
            if not parameter.requires_grad and id(parameter) in self._stand_ins:
                self._stand_ins[id(parameter)].copy_(parameter)
        scatter_optimizer(self.whole, self.local, self.shares)
        self.release()

    # --- how it is made ---

    def _split_parameters(self) -> list[nn.Parameter]:
        return [each for path in self.split for each in self.network.get_submodule(path).parameters(recurse=False)]

    def _split_buffers(self) -> list[Tensor]:
        """Running statistics of which each process has those of its own units."""
        buffers = [each for path in self.split for each in self.network.get_submodule(path).buffers(recurse=False)]
        return [each for each in buffers if each.ndim]

    def _shares(self) -> Iterator[Shares]:
        """Those of the trained parameters that compute in another type, those of the others, one of each split one."""
        computed = {id(each) for each in computed_parameters(self.network).values()}
        split = {id(each) for each in self._split_parameters()}
        trained = [each for group in self.whole.param_groups for each in group["params"]]
        for converted in (True, False):
            members = [each for each in trained if id(each) not in split and (id(each) in computed) == converted]
            if members:
                yield Shares(members, self.together, self._type(members[0], converted), cost=self._cost())
        for each in trained:
            if id(each) in split:
                yield Shares([each], self.together, self._type(each, id(each) in computed), exchanged=False)

    def _type(self, tensor: Tensor, converted: bool) -> torch.dtype:
        """The type that a parameter computes in."""
        return torch.bfloat16 if converted and self.dtype == torch.bfloat16 else tensor.dtype

    def _cost(self) -> Callable[[nn.Parameter], float] | None:
        """What a tensor's update costs, where the rule takes whole tensors."""
        whole = self.whole
        if not isinstance(whole, Muon):
            return None
        hidden = {id(each) for group in whole.param_groups if group["hidden"] for each in group["params"]}
        return lambda each: muon_cost(each, id(each) in hidden, whole.towers.get(each, 1))

    def _hold_average(self, average: nn.Module) -> None:
        pairs = zip(self.network.parameters(), average.parameters(), strict=True)
        mean_of = {id(mine): theirs for mine, theirs in pairs}
        for shares in self.shares:
            shares.hold_average([mean_of[id(each)] for each in shares.tensors])

    def _local_optimizer(self) -> torch.optim.Optimizer:
        """The run's optimizer, of this process's pieces alone."""
        pieces: dict[int, nn.Parameter] = {}
        for shares in self.shares:
            pieces |= {id(shares.tensors[piece.index]): piece.values for piece in shares.pieces}
        local = object.__new__(type(self.whole))
        local.__dict__ |= {**vars(self.whole), "state": type(self.whole.state)(dict), "copies": {}, "averages": {}}
        local.param_groups = [
            {**group, "params": [pieces[id(each)] for each in group["params"] if id(each) in pieces]}
            for group in self.whole.param_groups
        ]
        if isinstance(self.whole, Muon) and isinstance(local, Muon):
            local.towers = {pieces[id(each)]: count for each, count in self.whole.towers.items() if id(each) in pieces}
        return local

    def _computing_parameters(self) -> dict[int, nn.Parameter]:
        """By the identity of a parameter of the network the one that takes its place in the replica."""
        found: dict[int, nn.Parameter] = {}
        for shares in self.shares:
            for index, tensor in enumerate(shares.tensors):
                values = shares.view(shares.compute, index)
                found[id(tensor)] = nn.Parameter(values if shares.exchanged else self._own(values))
        for each in computed_parameters(self.network).values():
            if not each.requires_grad:
                found[id(each)] = nn.Parameter(each.detach().to(self._type(each, True)), requires_grad=False)
        return found

    def _own(self, values: Tensor) -> Tensor:
        """The rows of a split layer's tensor that are this process's; a view."""
        return values.chunk(self.together.ranks)[self.together.rank]

    def _replica(self) -> nn.Module:
        """The network with the parameters that compute, and with layers that exchange what they must."""
        split = {id(buffer): self._own(buffer) for buffer in self._split_buffers()}
        buffers = {id(buffer): buffer for buffer in self.network.buffers()}
        own = {id(each): each for each in self.network.parameters()}
        replica = copy.deepcopy(self.network, {**own, **self._stand_ins, **buffers, **split})
        columns = [path for path, kind in self.split.items() if kind == "columns"]
        for path, layer in list(replica.named_modules()):
            if isinstance(layer, nn.Dropout):
                replica.set_submodule(path, DropoutAcross(layer.p, path in columns, self.together))
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                replica.set_submodule(path, NormAcross(layer, Together() if path in columns else self.together))
            elif path in self.split and isinstance(layer, nn.Linear):
                rows = goes_back(self.network, self.split, path)
                replica.set_submodule(path, SplitDense(layer, self.split[path], rows, self.together))
        return replica
