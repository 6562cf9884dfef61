"""The fitted tensors of a barrier, and what is derived from them until they are replaced."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class FittedState:
    """A flat dict of tensors, each converted once to every dtype and device in which it is asked for."""

    def fitted(self, name: str) -> Tensor:
        """A tensor of the fitted state, or an error that says what to do."""
        if name not in self.state:
            raise ValueError(f"{type(self).__name__} has no {name!r}: it is not fitted; call fit(positive, negative)")
        return self.state[name]

    @property
    def state(self) -> dict[str, Tensor]:
        """The fitted tensors by name. Replace it whole: that drops what was derived from the earlier one."""
        return self._state

    @state.setter
    def state(self, state: dict[str, Tensor]) -> None:
        """Put in another, and forget what was derived."""
        self._state = dict(state)
        self._cast: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        derived = (
            name for kind in type(self).__mro__ for name, x in vars(kind).items() if isinstance(x, cached_property)
        )
        for name in derived:
            vars(self).pop(name, None)

    def _on(self, name: str, like: Tensor) -> Tensor:
        """A state tensor in the dtype and on the device of `like`, converted once."""
        key = (name, like.dtype, like.device)
        if key not in self._cast:
            self._cast[key] = self.fitted(name).to(device=like.device, dtype=like.dtype)
        return self._cast[key]
