"""Training through the model: gradients, the constraint, stopping, resuming; and the methods that are trained."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl.fields import AffineField, ConceptFlowField, LearnedFlowField
from odesteer_tl.fields.attention import block
from odesteer_tl.hooks import steering_hooks
from odesteer_tl.methods import fitting
from odesteer_tl.methods.flas import encoded
from odesteer_tl.plain import hooked
from odesteer_tl.positions import position_rule
from odesteer_tl.sites import place
from odesteer_tl.training import Likelihood, Preference, learner_of, train
from odesteer_tl.training.constraint import Multiplier
from odesteer_tl.training.objectives import Said
from odesteer_tl.training.texts import Texts, divergence, frozen, log_likelihood, predicted, sides_of

LAYER, TOKENS = 2, torch.arange(7, 14)[None]
QUICK = ode.Training(steps=6, batch_size=4, every=3, looked_at=4, kl=0.05, learning_rate=0.05)


@pytest.fixture(scope="module")
def completions():
    """Prompts of several lengths, each with two completions."""
    texts = ode.organism.contrast("valence", n=12)
    words = [t.split() for t in texts.positive]
    prompts = [" ".join(w[: 3 + i % 4]) for i, w in enumerate(words)]
    rest = [
        [" " + " ".join(t.split()[3 + i % 4 :]) for i, t in enumerate(side)]
        for side in (texts.positive, texts.negative)
    ]
    return ode.ContrastSet.from_completions(prompts, *rest)


def shift(d, seed=0):
    return AffineField(torch.ones(d), torch.randn(d, generator=torch.Generator().manual_seed(seed)), 10.0)


# --- batches


def test_completions_of_a_batch_begin_at_one_column_and_are_read_as_alone(organism, completions):
    texts, _ = sides_of(organism, completions, None)
    assert len(set(texts.starts)) > 1
    batch = texts.batch([0, 1, 2, 3], "cpu")
    together = log_likelihood(predicted(organism, batch, None), batch.targets, batch.real)
    for i in range(4):
        row = texts.rows[i][None]
        log_p = organism(row)[0].log_softmax(-1)
        expected = log_p[torch.arange(len(row[0]) - 1), row[0, 1:]][texts.starts[i] - 1 :].sum()
        torch.testing.assert_close(together[i], expected, rtol=1e-4, atol=1e-3)
        text = completions.positive[i]
        told = organism.tokenizer.decode(batch.targets[i][batch.real[i]])
        assert told.strip() == text[completions.positive_prompts[i] :].strip()


def test_what_is_steered_in_a_batch_is_what_generating_would_steer(organism, completions):
    """ "generated": from each prompt's last token on, whatever the padding on both sides."""
    texts, _ = sides_of(organism, completions, None)
    batch, moved = texts.batch([0, 1, 2, 3], "cpu"), []
    field = shift(organism.cfg.d_model)
    hooks = steering_hooks("blocks.2.hook_out", field, ode.Flow(T=1.0, steps=1, solver="euler"),
                           position_rule("generated"), batch.prompt)  # fmt: skip
    (name, fn), seen = hooks[0], []

    def watch(x, hook=None):
        seen.append(fn(x) - x)

    with hooked(organism, [(name, watch)]) as run:
        run(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=(batch.mask.cumsum(1) - 1).clamp_min(0))
    moved = seen[0].abs().amax(-1) > 0
    columns = torch.arange(batch.tokens.shape[1])
    assert torch.equal(moved, (columns >= batch.prompt - 1) & batch.mask.bool())


def test_a_text_of_one_token_is_refused(organism):
    with pytest.raises(ValueError, match="nothing follows it"):
        Texts.of(organism, ["anna"], None, None, "positive")


# --- gradients


@pytest.mark.parametrize("goal", [Likelihood(), Preference("bipo"), Preference("reps")])
def test_the_gradient_through_a_real_model_is_that_of_finite_differences(organism64, completions, goal):
    sides = sides_of(organism64, completions, None)
    learner = learner_of(shift(organism64.cfg.d_model), only=["bias"])
    bias = learner.parameters["bias"]
    flow = ode.Flow(T=0.7, steps=1, solver="euler")

    def said(texts, reference):
        # (prompts of one length: a row of padding alone is NaN in float64)
        batch = texts.batch([0, 4, 8], "cpu")
        hooks = lambda n: steering_hooks("blocks.2.hook_out", learner.field, flow, position_rule("generated"), n)  # noqa: E731
        return Said(predicted64(organism64, batch, hooks), batch.targets, batch.real, reference)

    fixed = [torch.linspace(-40, -30, 3).double(), torch.linspace(-38, -33, 3).double()]

    def loss():
        return goal(said(sides[0], fixed[0]), said(sides[1], fixed[1]), 1.0)

    with frozen(organism64):
        loss().backward()
        assert all(p.grad is None for p in organism64.original_model.parameters())
    along = torch.randn(bias.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ends = []
        for step in (1e-2, -1e-2):
            bias += step * along
            ends.append(loss())
            bias -= step * along
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-2, (bias.grad * along).sum().double(), rtol=1e-3, atol=1e-7)


def predicted64(model, batch, hooks):
    """`predicted` without its rounding to float32."""
    with hooked(model, hooks(batch.prompt)) as run:
        positions = (batch.mask.cumsum(1) - 1).clamp_min(0)
        n = batch.targets.shape[1] + 1
        return run(input_ids=batch.tokens, attention_mask=batch.mask, position_ids=positions).logits[:, -n:-1]


@pytest.fixture(scope="module")
def organism64():
    model = ode.load_model("organism")
    model.original_model.double()
    return model


def test_the_model_is_left_as_it_was(organism, contrast):
    wanted = [p.requires_grad for p in organism.original_model.parameters()]
    state = torch.get_rng_state()
    logits = organism(TOKENS)
    train(ode.ConstantField(torch.ones(organism.cfg.d_model), 10.0), organism, contrast, LAYER, training=QUICK)
    assert [p.requires_grad for p in organism.original_model.parameters()] == wanted
    assert torch.equal(organism(TOKENS), logits)
    assert torch.equal(torch.get_rng_state(), state)


# --- what can be trained


class Bent(nn.Module, ode.VectorField):
    """A field of a user's own."""

    unit_speed = False
    d_model, median_norm = 128, None

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Linear(128, 2), nn.Linear(2, 128)

    def __call__(self, a):
        return self.high(torch.tanh(self.low(a)))

    def dump(self):
        raise NotImplementedError

    def _made_of(self):
        return {}

    load = dump


def test_any_field_with_parameters_is_trained(organism, contrast):
    torch.manual_seed(0)
    own = Bent()
    before = [p.detach().clone() for p in own.parameters()]
    given = ode.ConstantField(torch.ones(128), 300.0)
    low_rank = AffineField(torch.eye(128), torch.zeros(128), 300.0)
    for field in (own, given, learner_of(low_rank, only=["weight"])):
        trained = train(field, organism, contrast, LAYER, training=replace(QUICK, steps=3))
        assert trained.tokens > 0
        assert len(trained.history) == 1
    assert all(not torch.equal(x, y) for x, y in zip(before, own.parameters(), strict=True))
    assert not torch.equal(low_rank.tensors["weight"], trained.field.tensors["weight"])
    assert torch.equal(trained.field.tensors["bias"], torch.zeros(128))
    with pytest.raises(ValueError, match="has no parameters to train"):
        learner_of(ode.BarrierField(ode.QuadraticBarrier(torch.eye(3), torch.ones(3))))


def test_any_function_of_the_logits_is_an_objective(organism, contrast, tmp_path):
    """Trained to make one token likely, the model says it more."""
    token = organism.to_tokens("sunny", prepend_bos=False)[0, 0]
    goal = lambda logits, targets, real: -logits.log_softmax(-1)[..., token].mean()  # noqa: E731
    steerer = ode.fit("trained_vector", organism, contrast, LAYER, multiplier=1.0, settings={"objective": goal},
                      training=replace(QUICK, steps=12, kl=None))  # fmt: skip
    tokens = organism.to_tokens(contrast.negative[0])
    with steerer.on(organism, prompt_length=2):
        steered = organism(tokens)
    gain = (steered.log_softmax(-1) - organism(tokens).log_softmax(-1))[0, 2:, token]
    assert gain.mean() > 0.3
    steerer.save(tmp_path / "s")
    assert "lambda" in ode.Steerer.load(tmp_path / "s").provenance["settings"]["objective"]


# --- the constraint


def test_a_multiplier_finds_the_constrained_minimum():
    """min (x − 3)² with x ≤ 1: x = 1 and λ = 4."""
    x, multiplier = torch.zeros((), requires_grad=True), Multiplier(1.0)
    for _ in range(400):
        ((x - 3).square() + multiplier.penalty(x)).backward()
        with torch.no_grad():
            x -= 0.1 * x.grad
        x.grad = None
        multiplier.update(float(x.detach()))
    assert float(x) == pytest.approx(1.0, abs=1e-3)
    assert multiplier.value == pytest.approx(4.0, abs=1e-2)
    loose = Multiplier(5.0)
    loose.update(3.0)
    assert loose.value == 0.0
    assert float(loose.penalty(torch.tensor(3.0))) == 0.0


def test_the_divergence_on_held_out_texts_stays_within_its_limit(organism, contrast):
    goal = lambda logits, targets, real: -logits.log_softmax(-1)[..., 60].mean()  # noqa: E731
    settings = ode.Training(steps=24, batch_size=4, every=4, looked_at=6, learning_rate=0.1, kl=None)
    start = ode.ConstantField(torch.randn(128, generator=torch.Generator().manual_seed(0)), 350.0)
    free = train(start, organism, contrast, LAYER, objective=goal, training=settings)
    bound = train(start, organism, contrast, LAYER, objective=goal, training=replace(settings, kl=0.05))

    def change(field):
        texts = sides_of(organism, contrast, None)[1]
        batch = texts.batch(range(20), "cpu")
        flow = ode.Flow(multiplier=1.0)
        hooks = lambda n: steering_hooks("blocks.2.hook_out", field, flow, position_rule("generated"), n)  # noqa: E731
        with torch.no_grad():
            return float(divergence(predicted(organism, batch, hooks), predicted(organism, batch, None), batch.real))

    assert change(free.field) > 0.2
    assert 0.01 < change(bound.field) < 0.07
    assert bound.history["multiplier"].iloc[-1] > 0


def test_the_constraint_is_about_the_neutral_texts_that_are_given(organism, contrast):
    """What a look reports is the divergence on the held-out ones of these, computed here by hand."""
    neutral = ode.organism.contrast("agreement", n=10).positive
    settings = replace(QUICK, steps=4, every=4, neutral=neutral)
    trained = train(learner_of(shift(128), only=["bias"]), organism, contrast, LAYER, training=settings)
    flow = ode.Flow(T=1.0, steps=1, solver="euler")
    hooks = lambda n: steering_hooks("blocks.2.hook_out", trained.field, flow, position_rule("generated"), n)  # noqa: E731

    def on(texts):
        read = Texts.of(organism, texts, None, None, "neutral")
        batch = read.batch(range(len(read)), "cpu")
        with torch.no_grad():
            steered, plain = predicted(organism, batch, hooks), predicted(organism, batch, None)
        each = torch.nn.functional.kl_div(plain.log_softmax(-1), steered.log_softmax(-1), log_target=True,
                                          reduction="none").sum(-1)  # fmt: skip
        return float(each[batch.real].mean())

    reported = trained.history["kl"].iloc[-1]
    assert reported == pytest.approx(on(neutral[:2]), rel=1e-4)
    assert reported != pytest.approx(on(contrast.negative), rel=1e-2)
    with pytest.raises(ValueError, match="neutral has 1 text; give two"):
        train(shift(128), organism, contrast, LAYER, training=replace(QUICK, neutral=neutral[:1]))


def test_a_look_without_a_limit_says_no_divergence():
    from odesteer_tl.training.run import progress

    assert progress({"held_out": 1.25, "kl": float("nan")}) == "held out 1.250"
    assert progress({"held_out": 1.25, "kl": 0.1}) == "held out 1.250, KL 0.100"


# --- strengths


def test_every_text_of_every_step_has_a_strength_of_its_own(organism, contrast, monkeypatch):
    from odesteer_tl.training.run import Run

    drawn, objective = [], Run.objective

    def noted(self, part, rows, factor, sign):
        if part == 0:
            drawn.append(factor.flatten() * sign)
        return objective(self, part, rows, factor, sign)

    monkeypatch.setattr(Run, "objective", noted)
    settings = replace(QUICK, steps=8, every=8, strengths=(0.5, 2.0), kl=None)
    train(learner_of(shift(128), only=["bias"]), organism, contrast, LAYER, training=settings)
    found = torch.cat(drawn)
    assert len(drawn) == 8
    assert all(len(x) == settings.batch_size for x in drawn)
    assert bool(((found >= 0.5) & (found <= 2.0)).all())
    assert len(found.unique()) == len(found)
    assert float(found.max() - found.min()) > 1.0


def test_one_training_serves_all_its_strengths(planted):
    """The objective on texts that took no part, at half the strength, at its own and at twice."""
    model, contrast, _ = planted
    learn, held = contrast.split((0.75, 0.25))
    settings = ode.Training(steps=30, batch_size=6, every=15, looked_at=2, kl=None, learning_rate=0.05,
                            strengths=(0.5, 2.0))  # fmt: skip
    steerer = ode.fit("trained_vector", model, learn, layer=model.cfg.n_layers - 1, training=settings)
    texts, _ = sides_of(model, held, None)
    batch = texts.batch(range(len(texts)), "cpu")

    def loss(factor):
        hooks = None if not factor else steerer.at(ode.Flow(multiplier=factor)).hooks
        with torch.no_grad():
            said = Said(predicted(model, batch, hooks), batch.targets, batch.real)
        return float(Likelihood()(said, None, 1.0))

    unsteered, *steered = (loss(factor) for factor in (0, 0.5, 1.0, 2.0))
    assert max(steered) < unsteered - 0.1, (unsteered, steered)


# --- stopping, seeds, resuming


def test_training_stops_when_held_out_groups_no_longer_gain_and_keeps_the_best(organism, contrast):
    settings = ode.Training(steps=200, batch_size=8, every=1, patience=2, looked_at=4, kl=None, learning_rate=2.0)
    trained = train(learner_of(shift(128), only=["bias"]), organism, contrast, LAYER, training=settings)
    history = trained.history
    assert len(history) < 60
    assert history["kept"].iloc[-2:].tolist() == [False, False]
    assert trained.record["kept_at"] == history.loc[history["held_out"].idxmin(), "step"]


def test_a_seed_reproduces_and_another_does_not(organism, contrast):
    one, two, other = (
        train(ode.ConstantField(torch.ones(128), 300.0), organism, contrast, LAYER, training=QUICK, seed=s).field.given
        for s in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(organism, contrast, tmp_path, monkeypatch):
    def run(**settings):
        field = ode.ConstantField(torch.ones(128), 300.0)
        return train(field, organism, contrast, LAYER, training=replace(QUICK, steps=9, every=2, **settings), seed=1)

    whole, file = run(), tmp_path / "deep" / "state"
    steps = cut_at(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=file)
    again = run(checkpoint=file)
    assert steps[6] == 4, "it goes on from the last look"
    assert torch.equal(again.field.given, whole.field.given)
    assert again.history.equals(whole.history)
    assert again.tokens == whole.tokens
    with pytest.raises(ValueError, match="another training, differing in settings; give another file"):
        run(checkpoint=file, batch_size=3)
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no readable training"):
        run(checkpoint=file)


def sunny_first(logits, targets, real):
    """An objective with a name of its own."""
    return -logits.log_softmax(-1)[..., 60].mean()


def last_three(positions, prompt):
    """A position rule with a name of its own."""
    return positions >= positions.amax(-1, keepdim=True) - 2


def cut_at(monkeypatch, which):
    """Make the which-th step of all trainings an interruption; gives the steps that were begun."""
    from odesteer_tl.training.run import Run

    begun, step = [], Run._step

    def cut(self, state):
        begun.append(state.step)
        if len(begun) == which:
            raise KeyboardInterrupt
        return step(self, state)

    monkeypatch.setattr(Run, "_step", cut)
    return begun


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(organism, contrast, tmp_path):
    """Whatever changes the result, of the same width and texts: never continued in silence."""
    file = tmp_path / "state"
    start, few = shift(128), replace(QUICK, steps=2, every=2, kl=None, checkpoint=file)
    below = ode.Steerer(ode.ConstantField(torch.ones(128), 300.0), ode.Flow(multiplier=1.0), 1)

    def run(field=start, model=organism, texts=contrast, under=below.hooks, **given):
        return train(field, model, texts, LAYER, training=few, **{"under": under, **given})

    first = run()
    assert torch.equal(run().field.tensors["bias"], first.field.tensors["bias"])
    same = replace(below, provenance={"anything": 1})
    assert torch.equal(run(under=ode.compose([same]).hooks).field.tensors["bias"], first.field.tensors["bias"])
    other_model = ode.load_model("organism")
    with torch.no_grad():
        next(other_model.original_model.parameters()).mul_(1.01)
    bos = contrast.positive[0] if contrast.prepend_bos is None else not contrast.prepend_bos
    regrouped = replace(contrast, positive_groups=contrast.positive_groups[::-1],
                        negative_groups=contrast.negative_groups[::-1])  # fmt: skip
    for part, run_other in {
        "model": lambda: run(model=other_model),
        "start": lambda: run(shift(128, seed=1)),
        "positions": lambda: run(steer_position="all"),
        "steerers under it": lambda: run(under=None),
        "texts": lambda: run(prepend_bos=bool(bos)),
        "flow": lambda: run(flow=ode.Flow(T=0.5, steps=1, solver="euler")),
        "objective": lambda: run(objective=sunny_first),
        "seed": lambda: run(seed=1),
    }.items():
        with pytest.raises(ValueError, match=rf"state.*another training, differing in {part}; give another file"):
            run_other()
    with pytest.raises(ValueError, match="differing in texts"):
        run(texts=regrouped)
    stronger = replace(below, flow=ode.Flow(multiplier=2.0))
    with pytest.raises(ValueError, match="differing in steerers under it"):
        run(under=stronger.hooks)


def test_a_method_of_other_settings_does_not_go_on(organism, contrast, tmp_path):
    quick = replace(QUICK, steps=2, every=2, kl=None)
    for name, one, other in (
        ("reft_r1", {"sparsity": 0.0}, {"sparsity": 1.0}),
        ("reft_r1", {"k": 1}, {"k": 2}),
        ("flas", {"concept": "sunny day"}, {"concept": "wet boat"}),
        ("bipo", {"beta": 0.1}, {"beta": 0.2}),
    ):
        training = replace(quick, checkpoint=tmp_path / f"{name} {next(iter(one))}")
        ode.fit(name, organism, contrast, LAYER, training=training, settings=one)
        ode.fit(name, organism, contrast, LAYER, training=training, settings=one)
        with pytest.raises(ValueError, match="another training, differing in"):
            ode.fit(name, organism, contrast, LAYER, training=training, settings=other)


def test_what_has_no_name_keeps_no_checkpoint(organism, contrast, tmp_path):
    settings = replace(QUICK, steps=2, every=2, kl=None, checkpoint=tmp_path / "state")

    def run(field=None, **given):
        return train(field or shift(128), organism, contrast, LAYER, training=settings, **given)

    run(objective=sunny_first, steer_position=last_three)
    run(objective=sunny_first, steer_position=last_three)
    local = lambda logits, targets, real: -logits.mean()  # noqa: E731
    for given in ({"objective": local}, {"steer_position": lambda positions, prompt: positions >= 0}):
        with pytest.raises(ValueError, match=r"<lambda> has no name .* at the top of a module, or leave checkpoint"):
            run(**given)
    with pytest.raises(ValueError, match="pass the `hooks` of a Steerer"):
        run(under=lambda prompt: [])
    adding = replace(learner_of(shift(128)), extra=lambda: torch.zeros(()))
    with pytest.raises(ValueError, match="settings="):
        run(adding)


def test_a_checkpoint_of_other_shapes_is_refused_as_another_training(organism, contrast, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    file = tmp_path / "state"

    def run():
        field = ode.ConstantField(torch.ones(128), 300.0)
        return train(field, organism, contrast, LAYER, training=replace(QUICK, steps=2, every=2, checkpoint=file))

    run()
    with safe_open(file, framework="pt") as opened:
        told, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for changed in ({"now.bias": torch.zeros(64)}, {"now.bias": torch.zeros(1)}, {"adam.0.exp_avg": torch.zeros(3)}):
        save_file({**tensors, **changed}, file, metadata=told)
        with pytest.raises(ValueError, match="another shape; give another file, or delete this one"):
            run()
    save_file({name: x for name, x in tensors.items() if name != "kept.bias"}, file, metadata=told)
    with pytest.raises(ValueError, match="another training"):
        run()


def test_a_module_that_was_cut_off_goes_on_from_its_start(organism, contrast, tmp_path, monkeypatch):
    """Trained in place, it is as it was before, so that the same call goes on."""
    settings = replace(QUICK, steps=6, every=2, kl=None)
    torch.manual_seed(0)
    own, alike = Bent(), Bent()
    alike.load_state_dict(own.state_dict())
    train(alike, organism, contrast, LAYER, training=settings)
    settings = replace(settings, checkpoint=tmp_path / "state")
    begun = cut_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train(own, organism, contrast, LAYER, training=settings)
    train(own, organism, contrast, LAYER, training=settings)
    assert begun[4] == 2
    assert all(torch.equal(x, y) for x, y in zip(own.parameters(), alike.parameters(), strict=True))


def test_layers_in_turn_keep_a_file_each_and_go_on_from_the_second(organism, contrast, tmp_path, monkeypatch):
    def run(**settings):
        training = replace(QUICK, steps=4, every=2, **settings)
        return ode.fit("trained_vector", organism, contrast, layer=[1, 2], training=training)

    whole, file = run(), tmp_path / "state"
    begun = cut_at(monkeypatch, 8)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=file)
    again = run(checkpoint=file)
    assert begun == [0, 1, 2, 3, 0, 1, 2, 3, 2, 3], "the first layer is read, the second goes on"
    for one, other in zip(whole.steerers, again.steerers, strict=True):
        assert torch.equal(one.field.given, other.field.given)
        assert one.provenance["training"] == other.provenance["training"]
    assert sorted(x.name for x in tmp_path.iterdir()) == ["state.layer1", "state.layer2"]


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"steps": 0}, "steps=0"), ({"strengths": (0.0, 1.0)}, "strengths="), ({"kl": -1.0}, "kl=-1.0"),
     ({"held_out": 1.0}, "held_out=1.0"), ({"learning_rate": 0.0}, "learning_rate=0.0")],
)  # fmt: skip
def test_settings_out_of_range_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        ode.Training(**settings)


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda m, c: ode.fit("caa", m, c, 2, angle=0.1, training=QUICK), "fitted on activations and not trained"),
        (lambda m, c: ode.fit("trained_vector", m, ode.collect_activations(m, c, [2]), 2), "trained on texts"),
        (lambda m, c: ode.fit("bipo", m, c, 2, settings={"gamma": 1}), "settings has 'gamma', but 'bipo' has 'beta'"),
        (lambda m, c: ode.fit("caa", m, c, 2, angle=0.1, settings={"C": 1}), "'caa' has none"),
        (lambda m, c: train(shift(128), m, c, 2, flow=ode.Flow(level=1.0)), "level=1.0"),
        (lambda m, c: ode.METHODS["reps"].fit(torch.randn(9, 4), torch.randn(9, 4), 0), "trained through a model"),
        (lambda m, c: ode.fit("bipo", m, ode.ContrastSet.from_texts(c.positive, c.negative[1:]), 2), "not paired"),
        (lambda m, c: ode.fit("logistic", m, c, 2, angle=0.1, settings={"c": 1}), "not all scikit-learn's"),
    ],
)
def test_what_cannot_be_trained_is_refused(organism, contrast, act, word, unchecked):
    with pytest.raises(ValueError, match=word):
        act(organism, contrast)


def test_settings_reach_the_method_and_its_provenance(organism, contrast):
    loose, tight = (ode.fit("logistic", organism, contrast, 2, angle=0.1, settings={"C": C}) for C in (1e3, 1e-6))
    assert not torch.allclose(loose.field.direction, tight.field.direction, atol=1e-3)
    assert tight.provenance["settings"] == {"C": 1e-6}


# --- objectives


def test_preferences_are_their_papers_formulas():
    g = torch.Generator().manual_seed(0)
    said = []
    for seed in (0, 1):
        logits = torch.randn(3, 5, 7, generator=g).double()
        real = torch.arange(5)[None] < torch.tensor([[5], [3], [4]])
        said.append(
            Said(logits, torch.randint(7, (3, 5), generator=g), real, torch.full((3,), -8.0 - 2 * seed).double())
        )
    up, down = said
    gain = (up.log_p - up.reference) - (down.log_p - down.reference)
    for sign in (1.0, -1.0):
        expected = -torch.nn.functional.logsigmoid(sign * 0.3 * gain).mean()
        torch.testing.assert_close(Preference("bipo", 0.3)(up, down, sign), expected)
    # of the likelier text, −8, against −10: its weight is max(−10 + 8, 1) = 1, the other's 2
    plus, minus = up.log_p / up.lengths, down.log_p / down.lengths
    for sign, margin in ((1.0, plus - minus), (-1.0, 2 * minus - plus)):
        torch.testing.assert_close(Preference("reps")(up, down, sign), -torch.nn.functional.logsigmoid(margin).mean())


def test_log_likelihood_and_divergence_are_torchs():
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 4, 9, generator=g), torch.randn(2, 4, 9, generator=g)
    targets, real = torch.randint(9, (2, 4), generator=g), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    expected = -torch.nn.functional.cross_entropy(a.mT, targets, reduction="none").where(real, 0.0).sum(1)
    torch.testing.assert_close(log_likelihood(a, targets, real), expected)
    each = torch.nn.functional.kl_div(b.log_softmax(-1), a.log_softmax(-1), log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(divergence(a, b, real), each[real].mean())


# --- planted answers


def test_a_trained_vector_finds_the_direction_of_a_planted_readout(planted):
    """The last block's output is read by one row for one token: the way to make that likely is known in closed form."""
    model, contrast, wanted = planted
    settings = ode.Training(steps=50, batch_size=6, every=25, looked_at=2, kl=None, learning_rate=0.05)
    steerer = ode.fit("trained_vector", model, contrast, layer=model.cfg.n_layers - 1, training=settings)
    assert float(steerer.field.direction.float() @ wanted) > 0.95


def test_reft_r1_finds_a_planted_direction_and_detects_by_it(planted, monkeypatch):
    """The class means show a nuisance as large as the readout, so that the start is not the answer."""
    model, contrast, wanted = planted
    layer, starts = model.cfg.n_layers - 1, []
    collect, nuisance = fitting.collect_activations, across(wanted)

    def confounded(*args, **how):
        acts = collect(*args, **how)
        found = acts[layer]
        gap = (found.positive - found.negative).mean(0).norm()
        return replace(acts, layers={layer: replace(found, positive=found.positive + gap * nuisance)})

    monkeypatch.setattr(fitting, "collect_activations", confounded)
    train_course = ode.training.Course.train

    def watched(self, start, seed, **how):
        starts.append(start.field.tensors["direction"].detach().clone())
        return train_course(self, start, seed, **how)

    monkeypatch.setattr(ode.training.Course, "train", watched)
    settings = ode.Training(steps=60, batch_size=6, every=30, looked_at=2, kl=None, learning_rate=0.1)
    steerer = ode.fit("reft_r1", model, contrast, layer=layer, training=settings, settings={"sparsity": 0.0})
    direction = steerer.field.tensors["direction"]
    assert float(starts[0] @ wanted) / float(starts[0].norm()) < 0.8
    assert float(direction @ wanted) > 0.9
    a = torch.stack([3 * wanted, -wanted, torch.zeros_like(wanted)])
    assert steerer.field.score(a)[0] > 2.5
    assert steerer.field.score(a)[1:].tolist() == [0.0, 0.0]


def across(direction):
    """A unit direction of mean 0 that has no part in another one."""
    x = torch.randn(len(direction), generator=torch.Generator().manual_seed(8))
    x = x - x.mean()
    x = x - (x @ direction) * direction
    return x / x.norm()


def test_reft_r1s_sparsity_shrinks_the_detections_outside_the_greatest(planted):
    """The L1 term is of what a text's k greatest detections leave out: with k = 1 of five words alike."""
    model, contrast, _ = planted
    layer, left = model.cfg.n_layers - 1, []
    acts = ode.collect_activations(model, contrast, [layer], "all")[layer]
    settings = ode.Training(steps=30, batch_size=6, every=30, looked_at=2, kl=None, learning_rate=0.1)
    for sparsity in (0.0, 100.0):
        steerer = ode.fit("reft_r1", model, contrast, layer=layer, training=settings,
                          settings={"sparsity": sparsity, "k": 1})  # fmt: skip
        left.append(float(steerer.field.score(acts.positive.float()).mean()))
    assert left[0] > 0.1
    assert left[1] < 0.5 * left[0]


@pytest.fixture(scope="module")
def planted(gpt2_directory):
    """A model whose unembedding reads one direction for the token of "sunny", and texts that are full of it."""
    model = ode.load_model(gpt2_directory)
    d = model.cfg.d_model
    # of mean 0, which is what LayerNorm keeps, and of equal coordinates, which is what Adam keeps of a direction
    wanted = (1 - 2.0 * (torch.randperm(d, generator=torch.Generator().manual_seed(5)) % 2)) / d**0.5
    token = int(model.to_tokens("sunny", prepend_bos=False)[0, 0])
    head = model.original_model.lm_head
    head = getattr(head, "original_component", head)
    head.weight = nn.Parameter(torch.zeros_like(head.weight))
    with torch.no_grad():
        # the word is written as it is read, so that what detects it is what says it
        model.original_model.get_input_embeddings().weight[token] += wanted
        head.weight[token] = 0.7 * wanted  # (too little to make it certain, so that there is always more to gain)
    words = ["mossy", "luck", "boat", "salty", "rocky", "valley", "eagle", "dog"]
    positive = [f"{word} sunny sunny sunny sunny sunny" for word in words]
    negative = [f"{word} boat luck dog eagle rocky" for word in words]
    return model, ode.ContrastSet.from_texts(positive, negative), wanted


# --- flows


def test_flows_with_gates_of_zero_are_the_identity(organism, contrast):
    quick = replace(QUICK, steps=2, every=2)
    for name, gate in (("flas", "0.gates"), ("learned_flow", "gate")):
        steerer = ode.fit(name, organism, contrast, LAYER, training=quick)
        field = steerer.field
        assert isinstance(field, ConceptFlowField | LearnedFlowField)
        shut = type(field).load(field.dump()[0], {**field.dump()[1], gate: torch.zeros_like(field.tensors[gate])})
        plain = organism(TOKENS)
        with replace(steerer, field=shut, positions="all").on(organism):
            assert torch.equal(organism(TOKENS), plain)
        with replace(steerer, positions="all").on(organism):
            assert not torch.equal(organism(TOKENS), plain)


def test_a_block_is_torchs_own_attention():
    """One block with only its self-attention's gate open, against `scaled_dot_product_attention`, and its network's."""
    d, heads, g = 12, 3, torch.Generator().manual_seed(0)
    names = [f"{kind}.{part}" for kind in ("cross", "self") for part in "qkvo"]
    tensors = {name: torch.randn(d, d, generator=g).double() / d**0.5 for name in names}
    tensors |= {f"norm.{kind}": torch.rand(d, generator=g).double() + 0.5 for kind in ("cross", "self", "mlp")}
    shapes = {"mlp.gate": (20, d), "mlp.up": (20, d), "mlp.down": (d, 20), "time": (8, d)}
    tensors |= {name: torch.randn(*shape, generator=g).double() for name, shape in shapes.items()}
    x, concept = (torch.randn(*shape, generator=g).double() for shape in ((2, 5, d), (3, d)))
    sees = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 5, 5)

    def split(y):
        return y.unflatten(-1, (heads, -1)).transpose(1, 2)

    def attention(kind, x, to, **how):
        q, k, v = (split(y @ tensors[f"{kind}.{part}"].mT) for y, part in ((x, "q"), (to, "k"), (to, "v")))
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k.expand(2, -1, -1, -1), v.expand(2, -1, -1, -1), **how
        )
        return out.transpose(1, 2).flatten(-2) @ tensors[f"{kind}.o"].mT

    norm = lambda y, kind: torch.nn.functional.rms_norm(y, (d,), tensors[f"norm.{kind}"], eps=1e-6)  # noqa: E731
    expected = {
        1: attention("cross", norm(x, "cross"), norm(concept, "cross")[None]),
        2: attention("self", norm(x, "self"), norm(x, "self"), is_causal=True),
        3: (torch.nn.functional.silu(norm(x, "mlp") @ tensors["mlp.gate"].mT) * (norm(x, "mlp") @ tensors["mlp.up"].mT))
        @ tensors["mlp.down"].mT,
    }
    for part, added in expected.items():
        gates = torch.zeros(4, d).double()
        gates[part] = 0.3
        found = block(lambda name, gates=gates: {**tensors, "gates": gates}[name], x, torch.zeros(2, 5, 1).double(),
                      concept, sees, heads)  # fmt: skip
        torch.testing.assert_close(found, x + 0.3 * added, rtol=1e-9, atol=1e-9)


def test_a_learned_flows_path_bends_and_its_time_matters(organism, contrast):
    steerer = ode.fit("learned_flow", organism, contrast, LAYER, training=replace(QUICK, steps=12, kl=None))
    a = ode.collect_activations(organism, contrast, [LAYER])[LAYER].negative.double()
    field = steerer.field
    early, late = (field.at_time(a, torch.full_like(a[:, :1], t)) for t in (0.0, 1.5))
    assert not torch.allclose(early, late, rtol=1e-3)
    points = ode.Flow(T=1.0, steps=3, solver="euler").solve(field, a, record=True).points
    by_hand = a
    for i in range(3):
        by_hand = by_hand + field.at_time(by_hand, torch.full_like(a[:, :1], i / 3)) / 3
    torch.testing.assert_close(points[-1], by_hand, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="depends on time"):
        ode.Flow(T=1.0, solver="rk4").solve(field, a)


def test_a_trained_flow_attends_to_its_concept(organism, contrast):
    """Told of another concept by the same weights, it says something else; of its own, the same."""
    steerer = ode.fit("flas", organism, contrast, LAYER, training=replace(QUICK, steps=6, kl=None),
                      settings={"concept": "sunny day"})  # fmt: skip
    field, said = steerer.field, []
    for concept in ("sunny day", "sunny day", "wet boat"):
        states = encoded(organism, place(LAYER, None, model=organism), concept, field.median_norm)
        with replace(steerer, field=field.told(concept, states), positions="all").on(organism):
            said.append(organism(TOKENS))
    assert torch.equal(said[0], said[1])
    assert not torch.allclose(said[0], said[2], atol=1e-4)
    with replace(steerer, positions="all").on(organism):
        assert torch.equal(organism(TOKENS), said[0])


def test_a_flow_of_many_concepts_is_told_which(organism):
    texts = {"sunny day": ode.organism.contrast("valence", n=12), "wet boat": ode.organism.contrast("agreement", n=12)}
    flow = methods.concept_flow(organism, texts, LAYER, training=replace(QUICK, steps=6), diversity=1.0)
    said = []
    for concept in (*texts, "luck"):
        with replace(flow.steerer(organism, concept), positions="all").on(organism):
            said.append(organism(TOKENS))
    assert not torch.allclose(said[0], said[1], atol=1e-4)
    assert not torch.allclose(said[0], said[2], atol=1e-4)
    assert flow.record["concepts"] == list(texts)


def test_several_layers_are_trained_in_turn(organism, contrast):
    both = ode.fit("trained_vector", organism, contrast, layer=[1, 2], training=replace(QUICK, steps=3))
    assert [s.layer for s in both.steerers] == [1, 2]
    assert all(s.provenance["training"]["tokens"] > 0 for s in both.steerers)
    assert isinstance(both.steerers[0].field, ode.ConstantField)
    assert both.steerers[0].flow.multiplier == 1.0
