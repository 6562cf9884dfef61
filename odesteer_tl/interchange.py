"""GGUF control vectors: constant fields as the files that repeng, llama.cpp and EasySteer read and write.

A file holds `general.architecture = "controlvector"`, `controlvector.model_hint` (an architecture's name, such as
"llama"), `controlvector.layer_count` (how many directions there are) and float32 tensors `direction.N` of shape [d].

Layers. `direction.N` is added to the output of block N counted from 0, our `resid_post[N]`, so `N = layer`:
repeng adds it to the output of `model.layers[N]` and learns it from `hidden_states[N + 1]`; EasySteer numbers
decoder layers the same way; llama.cpp adds it to `l_out-N`, but has no direction for block 0 and refuses a file that
names one. (llama.cpp's own `cvector-generator` files what it measured after block N − 1 under N. Where a direction
is added, not where it was measured, is what a file says, and what is read here.)

Strength. Readers compute `a + α·direction.N` with one α for the whole file. Written is the push itself,
`T·v = (T/length)·given`, so α = 1 does what the steerers do; read is a field whose `length` is the direction's own, so
that α is `Flow(multiplier=α)`. A direction read and written again at α = 1 keeps its bits.

Not in a file: positions (repeng and llama.cpp add at every one: `positions="all_and_bos"`), and which weights it
belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._extras import gguf_package
from odesteer_tl._folder import new_file
from odesteer_tl.fields import ConstantField
from odesteer_tl.flow import INTEGRATORS
from odesteer_tl.sites import BLOCK_OUTPUT
from odesteer_tl.steerer import Steerer

ARCHITECTURE = "controlvector"


def write_control_vector(path: str | Path, steerers: Sequence[Steerer], model_hint: str) -> None:
    """Write one direction a steerer, in float32; the whole file or nothing.

    Args:
        steerers: each with a `ConstantField`, a straight integrator and a strength in T or relative, on its own layer.
        model_hint: the model's architecture, as in its `config.model_type`; readers show it and do not check it.

    Raises:
        ValueError: the path exists, a steerer is not a fixed addition to a block's output, layer 0 (which llama.cpp has
            no place for), two steerers on one layer, or directions of different widths or beyond float32.
        ImportError: the `gguf` package is not installed.
    """
    gguf, path = gguf_package("control vectors"), Path(path)
    if path.exists():
        raise ValueError(f"path={str(path)!r} exists and is not overwritten; remove it or choose another name")
    if not model_hint:
        raise ValueError("model_hint is empty, which readers refuse; pass the architecture's name, such as 'llama'")
    if not steerers:
        raise ValueError("steerers is empty; pass at least one")
    directions: dict[int, Tensor] = {}
    for steerer in steerers:
        if steerer.layer in directions:
            raise ValueError(f"layer={steerer.layer} is steered twice; a file has one direction a layer: add them up")
        directions[steerer.layer] = _push(steerer)
    widths = {len(x) for x in directions.values()}
    if len(widths) > 1:
        raise ValueError(f"steerers have widths {sorted(widths)}; a file belongs to one model: write one file each")
    with new_file(path) as part, closing(gguf.GGUFWriter(part, ARCHITECTURE)) as writer:
        writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(directions))
        for layer, direction in sorted(directions.items()):
            writer.add_tensor(f"direction.{layer}", direction.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def read_control_vector(path: str | Path) -> dict[int, ConstantField]:
    """The constant field of every layer, in order of the layers; `layer` is 0-based and means `resid_post`.

    A file's α is `Steerer(field, Flow(multiplier=α), layer, positions="all_and_bos")`. A zero direction steers nothing
    and is left out.

    Args:
        path: a GGUF file.

    Returns:
        Layer → field.

    Raises:
        ValueError: the file is missing, truncated, not a control vector, or holds something else than finite float32
            directions of one width. GGUF has no checksum: altered numbers go unnoticed.
        ImportError: the `gguf` package is not installed.
    """
    gguf, path = gguf_package("control vectors"), Path(path)
    try:
        reader = gguf.GGUFReader(path)
        architecture = reader.get_field("general.architecture")
        found = None if architecture is None else architecture.contents()
        if found != ARCHITECTURE:
            raise ValueError(f"general.architecture is {found!r}, not {ARCHITECTURE!r}")
        directions: dict[int, Tensor] = {}
        for tensor in reader.tensors:
            kind, _, number = tensor.name.partition(".")
            if kind != "direction" or not number.isdecimal():
                raise ValueError(f"tensor {tensor.name!r} is not 'direction.<layer>'")
            if tensor.tensor_type != gguf.GGMLQuantizationType.F32 or tensor.data.ndim != 1:
                raise ValueError(
                    f"{tensor.name} is {tensor.tensor_type.name} of {tensor.data.ndim} dimensions, not F32 of 1"
                )
            # a copy: the reader's arrays are views of the file, in its byte order
            directions[int(number)] = torch.from_numpy(np.array(tensor.data, dtype=np.float32))
        widths = {len(x) for x in directions.values()}
        if len(widths) != 1:
            raise ValueError(f"its directions have widths {sorted(widths)}, and one is needed")
        return {layer: ConstantField(x) for layer, x in sorted(directions.items()) if bool(x.any())}
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ValueError(f"path={str(path)!r} is not a readable control vector: {error}; export it again") from error


def _push(steerer: Steerer) -> Float[Tensor, " d"]:
    """What the steerer adds to every activation, in float32."""
    field, flow = steerer.field, steerer.flow
    if steerer.site != BLOCK_OUTPUT:
        raise ValueError(
            f"site={steerer.site!r} of layer {steerer.layer} has no GGUF form, which adds to a block's output alone; "
            "keep it with steerer.save"
        )
    if not isinstance(field, ConstantField):
        raise ValueError(
            f"field={type(field).__name__} of layer {steerer.layer} moves every activation differently and has no "
            "GGUF form; write a ConstantField, or keep it with steerer.save"
        )
    if steerer.condition is not None:
        raise ValueError(
            f"condition of layer {steerer.layer} has no GGUF form, which steers every prompt; keep it with "
            "steerer.save, or write replace(steerer, condition=None)"
        )
    integrator = INTEGRATORS[flow.solver]
    if flow.angle is not None or integrator.tangent or integrator.needs_quadratic:
        raise ValueError(
            f"flow={flow} of layer {steerer.layer} depends on the activation, and a control vector is added to all "
            "alike; use Flow(multiplier=…) or Flow(T=…, steps=1, solver='euler')"
        )
    if steerer.layer == 0:
        raise ValueError("layer=0 has no place in a control vector: llama.cpp refuses direction.0; use a later one")
    T = float(flow.length(field, torch.ones(1, dtype=torch.float64)))
    direction = (T / field.length * field.given).float()
    if not bool(direction.any()) or not bool(direction.isfinite().all()):
        raise ValueError(f"flow={flow} of layer {steerer.layer} makes a direction of 0 or beyond float32; change it")
    return direction
