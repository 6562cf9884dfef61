"""What the bridge writes and reads, for the engine's tests to compare with: `python -m tests.vllm.reference FOLDER`.

Runs in the project's environment; the engine's has no TransformerLens.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

import odesteer_tl as ode
from odesteer_tl.checkpoints import checkpoint
from odesteer_tl.generation import generate_tokens
from tests.vllm.contrast import PLACES, contrast

LAYER = 12
TEXTS = [
    "The film was", "I have to say that the meal we had last night was", "Hotel",
    "Yesterday we went to the concert, and",
    "My sister read the book in one evening and said that it was", "The weather", "In the garden there is a tree that",
    "Tell me about your day. It was", "The lesson was long, and when it ended the children", "Honestly, the service",
    "We arrived late at night, and the man at the desk", "After the game my father told us that he had never seen",
    "Her talk about the history of the town was", "What I remember of that summer is", "The story begins", "Dinner",
]  # fmt: skip
CHATS = [
    [{"role": "user", "content": "How was the film?"}],
    [{"role": "system", "content": "You answer in one sentence."}, {"role": "user", "content": "Was the hotel good?"}],
    [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello, how can I help you?"},
     {"role": "user", "content": "Tell me what you think of rainy days, and why you think so."}],
]  # fmt: skip
#: longer than a block of the engine's cache, which is 128 tokens on a CPU
LONG = " ".join(f"On day {i} we saw the {place}, and it was as everybody had said." for i, place in enumerate(PLACES))
NEW, LONG_NEW = 32, 24


def steerers(acts: ode.LayerActivations) -> dict[str, ode.Steerer]:
    """One of every kind that the engine is to run as the bridge does."""
    from odesteer_tl.methods import METHODS
    from odesteer_tl.methods.cast import gate

    kernel = ode.KernelBarrier(gamma=1.0, C=1.0).fit_activations(acts).calibrate_activations(acts)
    sketch = ode.SketchBarrier(C=1.0).fit_activations(acts)
    caa = METHODS["caa"].fit(acts.positive, acts.negative)
    field = ode.BarrierField(kernel)
    flows = {
        "constant": (caa, ode.Flow(angle=0.2)),
        "published": (ode.BarrierField(sketch), ode.Flow(angle=0.2, solver="euler")),
        "kernel 1": (field, ode.Flow(angle=0.2, steps=1)),
        "kernel 10": (field, ode.Flow(angle=0.2, steps=10)),
        "certified": (field, ode.Flow(angle=0.2, solver="certified")),
        "optimal": (field, ode.Flow(angle=0.2, solver="optimal")),
        "gated": (gate(caa, acts.negative, acts.positive), ode.Flow(angle=0.3)),
    }
    return {name: ode.Steerer(f, flow, layer=LAYER) for name, (f, flow) in flows.items()}


def written(model, prompts, steerer, n: int, bos: bool | None = None) -> list[list[int]]:
    """The tokens of every prompt's greedy continuation, its end left out."""
    hooks = None if steerer is None else steerer.hooks
    (batch,) = generate_tokens(model, prompts, hooks, max_new_tokens=n, temperature=0.0, prepend_bos=bos)
    return [row[batch.prompt_length : end].tolist() for row, end in zip(batch.tokens, batch.ends, strict=True)]


def main(folder: Path) -> None:
    """Steerers, texts and activations."""
    torch.set_num_threads(1)
    model = ode.load_model("smollm2")
    acts = ode.collect_activations(model, contrast(), [2, LAYER, 29], read_position="last")
    found: dict[str, object] = {"model": checkpoint("smollm2", torch.float32), "prompts": {}, "texts": {}}
    found["prompts"] = {"texts": TEXTS, "chats": CHATS, "long": [LONG], "short": TEXTS[:4]}
    identity = ode.ModelIdentity.of(model)
    tokens = {"unsteered": written(model, TEXTS, None, NEW), "chats unsteered": written(model, CHATS, None, NEW),
              "long unsteered": written(model, [LONG], None, LONG_NEW)}  # fmt: skip
    made = steerers(acts[LAYER])
    for name, steerer in made.items():
        bound = steerer.bound_to(model)
        bound.save(folder / name.replace(" ", "-"))
        tokens[name] = written(model, TEXTS, bound, NEW)
        tokens[f"chats {name}"] = written(model, CHATS, bound, NEW)
    for rule in ("all", "prompt", "last"):
        steerer = ode.Steerer(made["kernel 10"].field, ode.Flow(angle=0.2), LAYER, positions=rule)
        steerer.save(folder / f"rule-{rule}")
        tokens[f"rule {rule}"] = written(model, TEXTS[:4], steerer, NEW)
    before = ode.Steerer(made["kernel 10"].field, ode.Flow(angle=0.2), LAYER + 1, site="resid_pre")
    before.save(folder / "resid-pre")
    kernel = made["kernel 10"]
    tokens["long kernel 10"] = written(model, [LONG], kernel, LONG_NEW)
    tokens["kernel 10 stronger"] = written(model, TEXTS[:4], kernel.at(ode.Flow(angle=0.4)), NEW)
    found |= {"tokens": tokens, "identity": identity.name, "generated": kernel.generate(
        model, TEXTS[:4], max_new_tokens=NEW, temperature=0.0), "chat": kernel.generate(
        model, CHATS, max_new_tokens=NEW, temperature=0.0)}  # fmt: skip
    rows = {f"{layer}.{side}": getattr(acts[layer], side) for layer in acts for side in ("positive", "negative")}
    means = ode.collect_activations(model, contrast(), [LAYER], read_position="mean")[LAYER]
    save_file({**rows, "mean.positive": means.positive, "mean.negative": means.negative}, folder / "acts.safetensors")
    (folder / "reference.json").write_text(json.dumps(found))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    if not (target / "reference.json").exists():
        main(target)
