"""Activations from caches: as collected ones, whatever the names, the padding and the positions."""

import pytest
import torch

import odesteer_tl as ode

POSITIVE = ["leo noticed a happy girl", "anna was happy", "leo was"]
NEGATIVE = ["leo noticed a sad girl", "anna was sad", "anna noticed"]
CONTRAST = ode.ContrastSet.from_texts(POSITIVE, NEGATIVE)


def cached(model, texts, side):
    tokens = model.to_tokens(texts, padding_side=side)
    mask = tokens != model.tokenizer.pad_token_id
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens, attention_mask=mask.long())
    return cache, mask


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("site", "position"), [("resid_post", "last"), ("resid_mid", "mean"), ("z", "last")])
def test_caches_give_what_collecting_gives(organism, side, site, position):
    (pos, pos_mask), (neg, neg_mask) = (cached(organism, texts, side) for texts in (POSITIVE, NEGATIVE))
    found = ode.Activations.from_caches(pos, neg, position=position, site=site, mask=(pos_mask, neg_mask))
    expected = ode.collect_activations(organism, CONTRAST, read_position=position, site=site)
    assert (list(found), found.site, found.model) == (list(expected), expected.site, expected.model)
    for layer in found:
        if position == "last":  # a mean over tokens may or may not count the BOS
            torch.testing.assert_close(found[layer].positive, expected[layer].positive, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(found[layer].negative, expected[layer].negative, rtol=1e-4, atol=1e-4)
        else:
            x = pos[site, layer]
            by_hand = torch.stack([row[real].mean(0) for row, real in zip(x, pos_mask, strict=True)])
            torch.testing.assert_close(found[layer].positive, by_hand, rtol=1e-5, atol=1e-5)


def test_columns_layers_and_plain_tensors(organism):
    (pos, _), (neg, _) = (cached(organism, texts, "left") for texts in (POSITIVE, NEGATIVE))
    x, y = pos["resid_post", 3], neg["resid_post", 3]
    last = ode.Activations.from_caches(pos, neg, layers=[-2, 1], position=-1)
    assert list(last) == [3, 1]
    assert torch.equal(last[3].positive, x[:, -1])
    own = (torch.tensor([1, 2, 4]), torch.tensor([3, 3, -1]))
    each = ode.Activations.from_caches(pos, neg, "blocks.3.hook_resid_post", own)
    assert torch.equal(each[3].negative, torch.stack([y[0, 3], y[1, 3], y[2, -1]]))
    for key in (3, "blocks.3.hook_out", "blocks.3.hook_resid_post"):
        plain = ode.Activations.from_caches({key: x}, {key: y}, position=-1, model=organism)
        assert list(plain) == [3]
        assert torch.equal(plain[3].negative, last[3].negative)
    one = ode.Activations.from_caches({3: x[0]}, {3: y[:1]}, model=organism)
    assert torch.equal(one[3].positive, x[:1, -1])
    steerer = ode.fit("caa", organism, last, layer=3, multiplier=1.0)
    torch.testing.assert_close(steerer.field.given, (x - y)[:, -1].mean(0).double(), rtol=1e-4, atol=1e-5)
    for acts in (last, each):  # one row a text needs no groups
        ode.KernelBarrier(folds=3).fit(acts[3].positive, acts[3].negative)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({}, "mask is missing: position='last'"), ({"position": 99}, "position=99 is not a column"),
        ({"position": -1, "model": None}, "model is missing"), ({"position": -1, "layers": [2]}, r"holds no 'blocks.2"),
        ({"position": -1, "site": "z"}, "that both caches hold"), ({"position": "first"}, "position='first'"),
        ({"position": -1, "layers": [9]}, "layer=9 is out of range"),
        ({"mask": (torch.zeros(3, 4), torch.ones(3, 4))}, "mask of positive"),
    ],
)  # fmt: skip
def test_what_a_cache_does_not_say_is_asked_for(organism, how, word, unchecked):
    x = {1: torch.ones(3, 4, 128)}
    with pytest.raises(ValueError, match=word):
        ode.Activations.from_caches(x, x, **{"model": organism, **how})
