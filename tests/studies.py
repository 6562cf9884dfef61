"""Studies and recordings in memory, as tests look at them."""

import json
import time

import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.certification.material import Material
from analyses.certification.plan import Plan
from analyses.certification.study import assembled, certify_cell
from analyses.prompted import Prompted
from analyses.recording import Drawing, Recording, recorded


def certified(model, contrast, layers, settings, prompts, concept=None):
    """A certification that is written nowhere."""
    material = Material(model, Plan.of(settings, contrast, prompts, concept))
    cells = [certify_cell(material, {"layer": layer}).assign(layer=layer) for layer in layers]
    return assembled(pd.concat(cells, ignore_index=True))


def recording(model, steerer, prompts, size, *drawing):
    """Every path of a generation in batches of `size`."""
    return Recording.joined(recorded(Prompted(model, prompts, size), steerer, Drawing(*drawing), lambda x: x))


def refused(call, says, monkeypatch):
    """What a call refuses in one line, at once and before a model is loaded."""
    monkeypatch.setattr(ode, "load_model", lambda *_: pytest.fail("a model was loaded"))
    start = time.process_time()
    with pytest.raises(ValueError, match=says) as error:
        call()
    assert time.process_time() - start < 5
    assert "\n" not in str(error.value)


def write_concept(folder, pairs, prompts, words):
    """A concept of the embedded model as `python -m analyses.concepts` writes one; the folder."""
    folder.mkdir()
    write_pairs(ode.organism.contrast("valence", n=pairs), folder / "pairs.jsonl")
    (folder / "prompts.json").write_text(json.dumps(prompts))
    (folder / "words.json").write_text(json.dumps(words))
    return folder


def write_pairs(contrast, file, encoding="utf-8"):
    """A contrast's pairs as people bring them, a JSON object a line and a blank last line."""
    rows = zip(contrast.positive, contrast.negative, strict=True)
    lines = [json.dumps({"positive": p, "negative": q}) + "\n" for p, q in rows]
    file.write_text("".join(lines) + "\n", encoding=encoding)
