"""The suite's contract once more, with hooks that travel as vllm-lens sends them."""

from vllm_lens import Hook

import tests.serving_contract


def by_plugin(hook):
    """Serialised, sent as JSON and validated."""
    sent = Hook(fn=hook, layer_indices=[1]).model_dump_json()
    return Hook.model_validate_json(sent).fn


tests.serving_contract.arrived = by_plugin

from tests.test_serving import *  # noqa: E402, F403 (the same tests, by another way)
