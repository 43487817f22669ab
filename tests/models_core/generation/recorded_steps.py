"""A capture that stands for `torch.cuda.CUDAGraph` on a processor: it records operators with the very tensors that they
were called on, computes nothing that lasts, refuses what a capture refuses, and replays by calling them again.

What the function would decide anew at each call (a number of the host, another tensor) is fixed, as in a graph.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ_BACK = ("item", "_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select")
"""Operators that a capture refuses: the host would have to wait for their result."""


class Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        """By the address of what an operator writes in place: a view of all of it, and its content before."""
        self.made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in READ_BACK:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for leaf in given if func._schema.is_mutable else ():
            address = leaf.untyped_storage().data_ptr()
            if address not in self.made and address not in self.before:
                whole = leaf.new_empty(0).set_(leaf.untyped_storage())
                self.before[address] = (whole, whole.clone())
        result = func(*args, **kwargs)
        own = {leaf.untyped_storage().data_ptr() for leaf in given}
        new = [
            leaf
            for leaf in tree_leaves(result)
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in own
        ]
        self.made |= {leaf.untyped_storage().data_ptr() for leaf in new}
        self.calls.append((func, args, kwargs, new))
        return result


class Captures:
    """Counts what was recorded and replayed."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        recording = Recording()
        try:
            with recording:
                step()
        finally:
            for whole, content in recording.before.values():
                whole.copy_(content)

        def replay() -> None:
            self.replayed += 1
            for func, args, kwargs, new in recording.calls:
                if not new and not func._schema.is_mutable:
                    continue  # a view
                result = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
                for place, computed in zip(new, result, strict=False):
                    place.copy_(computed)

        return replay
