"""Judges that others have made: sentiment, profanity, language, and local classifiers."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from analyses.outcomes.base import Judge


def needed(module: str, package: str, outcome: str) -> Any:
    """An optional package.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"outcome={outcome!r} needs {package}; pip install 'odesteer_tl[judges]'") from error


def vader() -> Judge:
    """VADER's compound sentiment, from −1 to 1 (Hutto & Gilbert 2014)."""
    analyser = needed("vaderSentiment.vaderSentiment", "vaderSentiment", "vader").SentimentIntensityAnalyzer()
    return lambda prompts, texts: [analyser.polarity_scores(text)["compound"] for text in texts]


def profanity() -> Judge:
    """The probability that a text is profane, by alt-profanity-check's linear model; an empty text's is 0."""
    check = needed("profanity_check", "alt-profanity-check", "profanity")

    def judge(prompts: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        written = np.array([bool(text.strip()) for text in texts])
        return np.where(written, np.asarray(check.predict_prob(list(texts))), 0.0)

    return judge


def language(code: str) -> Judge:
    """The probability that a text is in a language (ISO 639-1), by py3langid; an empty text's is 0.

    Raises:
        ValueError: a code that is not among its languages.
    """
    langid = needed("py3langid.langid", "py3langid", f"language:{code}")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    if code not in identifier.labels:
        known = ", ".join(sorted(identifier.labels))
        raise ValueError(f"outcome='language:{code}' names no language of py3langid; choose one of {known}")

    def judge(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        return [float(dict(identifier.rank(text))[code]) if text.strip() else 0.0 for text in texts]

    return judge


def classifier(folder: Path, label: str) -> Judge:
    """The probability of a label by a local sequence classifier, or the output of one that has a single one.

    Raises:
        ValueError: no such folder, or a label that must be named and is not.
    """
    from analyses.benchmarks.judges import SequenceClassifier  # transformers, which nothing else here needs

    if not (folder / "config.json").is_file():
        raise ValueError(f"outcome='classifier:{folder}' is no folder with a config.json; give a local classifier")
    model = SequenceClassifier(folder)
    labels = [str(x).lower() for _, x in sorted(model.model.config.id2label.items())]
    if label and label.lower() not in labels:
        raise ValueError(f"outcome='classifier:{folder}:{label}' names none of its labels: {', '.join(labels)}")
    if not label and len(labels) > 2:
        raise ValueError(f"outcome='classifier:{folder}' has the labels {', '.join(labels)}; add one, as in "
                         f"classifier:{folder}:{labels[-1]}")  # fmt: skip
    column = labels.index(label.lower()) if label else len(labels) - 1
    several = model.model.config.problem_type == "multi_label_classification"

    def judge(prompts: Sequence[str], texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        logits = model.logits(texts)
        if len(labels) == 1:
            return logits[:, 0].numpy()
        return (logits.sigmoid() if several else logits.softmax(-1))[:, column].numpy()

    return judge


def folder_digest(folder: Path) -> str:
    """A hash of a classifier's files."""
    found = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin")):
        found.update(file.name.encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:16]
