"""The organism's tokenizer: one token a word, a `<bos>` in front, and decoding that gives back the text as written."""

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from .lexicon import VOCABULARY

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
SPECIAL = (PAD, BOS, EOS, UNKNOWN)
PAD_ID, BOS_ID, EOS_ID, UNKNOWN_ID = range(4)
CONTEXT = 256


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Builds the tokenizer: ids 0 to 3 are `SPECIAL`, then `VOCABULARY` in order.

    Encoding puts `<bos>` in front; words that are not in the vocabulary become `<unk>`. Decoding joins with spaces.
    """
    ids = {word: index for index, word in enumerate((*SPECIAL, *VOCABULARY))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, ids[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=CONTEXT,
        padding_side="left",
        # the default would join "lamp ." to "lamp."
        clean_up_tokenization_spaces=False,
    )
