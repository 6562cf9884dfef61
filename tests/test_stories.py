"""The two story contrasts: the words behind the findings, and pairs that differ in mood alone."""

import json

import pytest

from analyses import moods, sources, stories


def test_the_words_behind_the_findings_are_unchanged():
    assert sources.load_contrast("stories", pairs=0, seed=0).digest == "7029fae59c3fc70f"
    assert (len(moods.NAMES), len(moods.HAPPY), len(moods.SAD)) == (15, 6, 6)
    for module in (moods, sources):
        for name in ("NAMES", "HAPPY", "SAD"):
            words = getattr(module, name)
            assert words[: len(getattr(stories, name))] == getattr(stories, name)
            assert len(set(words)) == len(words)


def test_a_pair_shares_its_opening_and_parts_in_its_mood(shared, tmp_path):
    config = moods.MoodsConfig(str(shared / "models" / "TinyStories-656K"), tmp_path / "m.jsonl", 12, 2, 3)
    moods.main(config)
    rows = [json.loads(line) for line in config.out.read_text().splitlines()]
    assert len(rows) == 12
    for row in rows:
        fits = [{(name, opening) for name in moods.NAMES for opening in moods.OPENINGS for sentence in sentences
                 if text.startswith(f"{opening} {sentence}".format(n=name))}
                for text, sentences in ((row["positive"], moods.HAPPY), (row["negative"], moods.SAD))]  # fmt: skip
        assert fits[0] == fits[1]
        assert len(fits[0]) == 1
    assert rows == moods.moods(config)
    with pytest.raises(ValueError, match="not overwritten"):
        moods.main(config)
