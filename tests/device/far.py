"""Models are loaded onto `far`, a device in the CPU's memory that refuses whatever a GPU would refuse.

python -m tests.device.far MODULE [options]     # a command, all models of which are there
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.utils.cpp_extension import load
from transformer_lens.model_bridge import TransformerBridge

NAME = "far"


def register(build: Path) -> None:
    """Compile the device, once, and make it known to torch."""
    build.mkdir(parents=True, exist_ok=True)
    source = str(Path(__file__).with_name("far.cpp"))
    extension = load("far_device", [source], build_directory=str(build), extra_cflags=["-O1", "-w"])
    torch.utils.rename_privateuse1_backend(NAME)
    module: Any = ModuleType(f"torch.{NAME}")
    module.is_available = module.is_initialized = module.is_bf16_supported = lambda: True
    module.device_count, module.current_device = lambda: 1, lambda: 0
    module._is_in_bad_fork = lambda: False
    module.manual_seed_all = module.manual_seed = module.set_device = lambda *_: None
    module.get_rng_state, module.set_rng_state = lambda *_: torch.get_rng_state(), lambda *_: None
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    torch._register_device_module(NAME, module)
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)
    extension.register_hooks()


def by_default() -> None:
    """Have every bridge loaded onto the device, unless another one is named."""
    boot = TransformerBridge.boot_transformers

    def booted(*args: Any, device: Any = None, **settings: Any) -> TransformerBridge:
        return boot(*args, device=device or NAME, **settings)

    TransformerBridge.boot_transformers = staticmethod(booted)


if __name__ == "__main__":
    register(Path("results/device"))
    by_default()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
