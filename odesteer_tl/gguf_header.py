"""What a GGUF file says of its model, and the transformers model and tokenizer made of it, checked against it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from odesteer_tl._extras import gguf_package

#: texts are cut as GPT-2 cuts them (llama.cpp's names in `tokenizer.ggml.pre`); so does transformers where it knows no
#: better, and for names that are neither here nor below that would be a guess
_AS_GPT2 = {
    "gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "mpt", "olmo", "jais", "trillion", "exaone4", "roberta-bpe",
    "granite-docling", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code",
}  # fmt: skip
#: as GPT-2, after every digit was cut off; transformers 5.23 does not know of it and joins spaces to digits
_DIGIT_BY_DIGIT = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
#: a tokenizer that was saved and loaded must cut this as before
_PROBE = "The year 1984,  2 024 and\t\t3.14;\n\n\n  def f(x):\n    return x  # naïve 東京 🙂 it's  a"
_SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


@dataclass(frozen=True)
class GgufHeader:
    """The metadata of a GGUF file.

    Attributes:
        path: the file.
        fields: its keys and values.
        n_elements: numbers in all of its tensors.
        rotary: divisors of the rotary frequencies, where a tensor holds them.
    """

    path: Path
    fields: dict[str, Any]
    n_elements: int
    rotary: torch.Tensor | None

    @classmethod
    def of(cls, path: Path) -> GgufHeader:
        """Read a file's metadata.

        Raises:
            ValueError: it is no GGUF file, is cut short, or is one of several shards.
            ImportError: the `gguf` package is not installed.
        """
        gguf = gguf_package("GGUF models")
        try:
            reader = gguf.GGUFReader(path)
            fields = {name: field.contents() for name, field in reader.fields.items()}
            fields["general.architecture"]
            rotary = [torch.tensor(t.data) for t in reader.tensors if t.name == "rope_freqs.weight"]
            n_elements = sum(int(t.n_elements) for t in reader.tensors)
        except Exception as error:  # broken bytes lead the reader to errors of any kind
            raise ValueError(
                f"name={str(path)!r} is not a readable GGUF file ({error}); it may be cut short: fetch it again"
            ) from error
        if int(fields.get("split.count", 0)) > 1:
            raise ValueError(
                f"name={str(path)!r} is one of {fields['split.count']} shards; join them first with llama.cpp's "
                "`llama-gguf-split --merge`"
            )
        return cls(path, fields, n_elements, rotary[0] if rotary else None)

    def model(self, dtype: torch.dtype) -> Any:
        """The model with dequantised weights, in `dtype`.

        Raises:
            ValueError: transformers cannot read this architecture, or leaves something of it out.
        """
        folder, file = str(self.path.parent), self.path.name
        # without it, packages that are installed or not decide whether the weights stay packed
        packed = getattr(transformers, "GgufConfig", None)
        options = {} if packed is None else {"quantization_config": packed(dequantize=True)}
        try:
            config = AutoConfig.from_pretrained(folder, gguf_file=file)
            self._keep_rotary(config)
            both: Any = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, config=config, dtype=dtype, output_loading_info=True, **options
            )
        except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
            raise ValueError(self._refusal(f"transformers {transformers.__version__} says: {error}")) from error
        model, report = both
        for what in ("missing_keys", "mismatched_keys"):
            if report.get(what):
                raise ValueError(self._refusal(f"{what}: {', '.join(sorted(map(str, report[what]))[:3])} …"))
        for name in ("quantization_config", "_pre_quantization_dtype"):
            vars(model.config).pop(name, None)
        model.hf_quantizer, model.is_quantized = None, False
        # an instruction model ends its turn with another token than its text
        ends = [self.fields.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot", "eom")]
        if len(unique := [*dict.fromkeys(int(end) for end in ends if end is not None)]) > 1:
            model.generation_config.eos_token_id = unique
        return model

    def tokenizer(self) -> Any:
        """The tokenizer, which cuts texts as the file says.

        Raises:
            ValueError: transformers cannot build it, or not as the file says.
        """
        try:
            # AutoTokenizer would choose the same builder, after reading the whole file once more
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(self.path.parent), gguf_file=self.path.name)
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(self._refusal(f"no tokenizer can be made of it: {error}")) from error
        if self.fields.get("tokenizer.ggml.model") == "gpt2":
            backend, cut = tokenizer.backend_tokenizer, self.fields.get("tokenizer.ggml.pre")
            default = str(pre_tokenizers.ByteLevel(add_prefix_space=False))
            if cut in _DIGIT_BY_DIGIT:
                backend.pre_tokenizer = pre_tokenizers.Sequence(
                    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
                )
            elif cut not in _AS_GPT2 and str(backend.pre_tokenizer) == default:
                raise ValueError(self._refusal(f"its way of cutting texts, tokenizer.ggml.pre={cut!r}, is not known"))
        return tokenizer

    def save_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer to `folder`.

        Raises:
            ValueError: it cannot be built, or what is loaded from there is not the file's.
        """
        tokenizer = self.tokenizer()
        tokenizer.save_pretrained(folder)
        # transformers gives a byte-level vocabulary GPT-2's "<|endoftext|>", which the model has no row for
        file = folder / "tokenizer.json"
        backend = json.loads(file.read_text())
        rows = len(self.fields["tokenizer.ggml.tokens"])
        backend["added_tokens"] = [token for token in backend["added_tokens"] if token["id"] < rows]
        file.write_text(json.dumps(backend, ensure_ascii=False))
        self._require_same_tokens(tokenizer, folder, rows)

    def _require_same_tokens(self, tokenizer: Any, folder: Path, rows: int) -> None:
        saved = AutoTokenizer.from_pretrained(folder)
        found: dict[str, Any] = {f"{kind}_token_id": getattr(saved, f"{kind}_token_id") for kind in _SPECIAL}
        said = {f"{kind}_token_id": self.fields.get(f"tokenizer.ggml.{key}_token_id") for kind, key in _SPECIAL.items()}
        said = {kind: token for kind, token in said.items() if token is not None}
        said["chat_template"] = self.fields.get("tokenizer.chat_template")
        found["chat_template"] = saved.chat_template
        wrong = [f"{name} {found[name]!r} instead of {said[name]!r}" for name in said if found[name] != said[name]]
        if len(saved) > rows:
            wrong.append(f"{len(saved)} tokens instead of {rows}")
        if saved(_PROBE).input_ids != tokenizer(_PROBE).input_ids:
            wrong.append("texts cut otherwise once it was saved")
        if wrong:
            # 5.17.0 does so of files that 5.18 reads rightly
            made = f"the tokenizer that transformers {transformers.__version__} makes of it has {'; '.join(wrong)}"
            raise ValueError(self._refusal(f"{made}; take another transformers (pip install -U transformers)", "or "))

    def _keep_rotary(self, config: Any) -> None:
        """Give `config` the scaled rotary frequencies that transformers does not read from a GGUF, or refuse them."""
        rope = getattr(config, "rope_parameters", None) or {}
        kinds = {part.get("rope_type", "default") for part in (rope, *rope.values()) if isinstance(part, dict)}
        architecture = self.fields["general.architecture"]
        scaling = self.fields.get(f"{architecture}.rope.scaling.type", "none")
        if scaling != "none" and kinds <= {"default"}:
            raise ValueError(f"it scales its rotary positions ({scaling}), which would be left out")
        if self.rotary is None:
            return
        # llama.cpp keeps the result of Llama 3's rule; its settings are the same in every Llama 3 but for the factor
        llama3 = {
            "rope_type": "llama3", "rope_theta": rope.get("rope_theta"), "factor": float(self.rotary.max()),
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        }  # fmt: skip
        config.rope_parameters = llama3
        plain, scaled = (_frequencies(config, kind) for kind in ("default", "llama3"))
        if not torch.allclose(plain / scaled, self.rotary.float(), rtol=1e-4):
            raise ValueError("it scales its rotary frequencies by a rule that is not Llama 3's")

    def _refusal(self, why: str, also: str = "") -> str:
        return f"name={str(self.path)!r}: {why}; {also}load the checkpoint that this file was made of instead"


def _frequencies(config: Any, kind: str) -> torch.Tensor:
    """Inverse rotary frequencies of a configuration under one of transformers' rules."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    if kind == "default":
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return config.rope_parameters["rope_theta"] ** (-torch.arange(0, width, 2).float() / width)
    return ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))[0].float()
