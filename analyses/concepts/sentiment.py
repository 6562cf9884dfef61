"""Sentiment of reviews: written completions, or the labelled sentences of a corpus."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd

from analyses.concepts.concept import Concept, crossed
from analyses.outcomes import Completions
from analyses.sources import read_rows

REVIEWED = ("The film", "The hotel", "The concert", "Her new book", "The restaurant", "The museum", "The game",
            "His lecture", "The train ride", "The new phone", "The play", "The garden")  # fmt: skip
PRAISE = (
    " was an absolute joy from start to finish.", " is the best I have seen in years.",
    " made me smile all day long.",
    " was lovely, warm and full of charm.", " exceeded every hope I had.", " was worth every single penny.",
    " left me happy and grateful.", " is something I would recommend to everyone.", " was a delightful surprise.",
    " could not have been more beautiful.", " was brilliant, and I loved it.", " turned out wonderfully well.",
    " was pleasant, friendly and relaxing.", " gave us a perfect evening.", " is a real treasure.",
    " was excellent in every respect.", " impressed all of my friends.", " was funny, clever and kind.",
    " deserves all the praise it gets.", " was a great success.", " is superb, and I will come back.",
    " felt fresh and exciting.", " was the highlight of our week.", " brought us so much happiness.",
    " was handled with care and love.", " is a pleasure I can warmly endorse.", " was fantastic, simply fantastic.",
    " won my heart at once.", " was comfortable and very enjoyable.", " is outstanding value.",
    " was sweet and uplifting.", " made the whole trip worthwhile.",
    " was a triumph that I will never forget.",
    " had me cheering out loud.",
    " is generous, honest and clever.",
    " came as a relief to us all.",
    " was the best gift I could imagine.",
    " filled me with hope.",
    " was elegant and beautifully made.",
    " thrilled everyone in the room.",
    " was perfect for the whole family.",
    " is reliable and a joy to use.",
    " won us over within minutes.",
    " was full of bright ideas.",
    " has been a blessing so far.",
    " was cosy, clean and quiet.",
    " turned my day into a good one.",
    " inspired me deeply.",
    " is simply gorgeous.",
    " was smooth and flawless.",
    " was a feast for the senses.",
    " earned a standing ovation.",
    " gave me new energy.",
    " was refreshing and original.",
    " is among the finest of its kind.",
    " was a success beyond all expectations.",
    " was praised by all of us, and rightly so.",
    " amazed me with its beauty.",
    " was prompt, helpful and polite.",
    " felt warm and welcoming.",
    " is safe, solid and trustworthy.",
    " was delicious in every way.",
    " kept us happily entertained.",
    " was a wonderful way to spend an evening.",
    " improved my mood at once.",
    " was touching and sincere.",
    " made me proud to be there.",
    " is a bargain for what you get.",
    " was vivid, rich and full of life.",
    " left a sweet taste behind.",
    " restored my faith in people.",
    " was easy and great fun.",
    " is every bit as good as they say.",
    " was a lucky find.",
    " sparkled from beginning to end.",
    " was thoughtful and well prepared.",
    " has become my favourite.",
    " calmed and comforted me.",
    " was smart, witty and charming.",
    " was a splendid idea.",
    " deserves five stars.",
    " was worth the long wait.",
    " helped me very much.",
    " is wonderfully simple.",
    " made all of us smile.",
    " was bright, airy and inviting.",
    " was a marvel of good taste.",
    " is the pride of our town.",
    " cheered me up completely.",
    " was just marvellous.",
    " showed real talent.",
    " was gentle and caring.",
    " exceeded the high standards I have.",
    " is a credit to its makers.",
    " was heavenly, and we stayed for hours.",
    " satisfied us completely.",
    " made the evening magical.",
    " was lively and full of good humour.",
    " is fair, clear and useful.",
    " was a bright spot in a dull month.",
    " healed old wounds.",
    " was handsome and well kept.",
    " got better with every minute.",
    " was a complete delight.",
)  # fmt: skip
BLAME = (
    " was a complete waste of time from start to finish.", " is the worst I have seen in years.",
    " made me angry all day long.", " was ugly, cold and full of flaws.", " failed every hope I had.",
    " was not worth a single penny.", " left me sad and annoyed.", " is something I would not wish on anyone.",
    " was a nasty shock.", " could not have been more dreadful.", " was stupid, and I hated it.",
    " turned out horribly wrong.", " was unpleasant, hostile and stressful.", " gave us a terrible evening.",
    " is a real disaster.", " was poor in every respect.", " disgusted all of my friends.",
    " was dull, stupid and cruel.",
    " deserves all the scorn it gets.", " was a miserable failure.", " is awful, and I will never come back.",
    " felt stale and boring.", " was the low point of our week.", " brought us so much misery.",
    " was handled with neglect and contempt.", " is a torture I must warn against.",
    " was horrible, simply horrible.",
    " broke my heart at once.", " was painful and very tiresome.", " is an outrageous rip-off.",
    " was bitter and depressing.", " ruined the whole trip.",
    " was a fiasco that I will never forget.",
    " had me groaning out loud.",
    " is stingy, dishonest and foolish.",
    " came as a letdown to us all.",
    " was the worst gift I could imagine.",
    " filled me with dread.",
    " was clumsy and badly made.",
    " bored everyone in the room.",
    " was awful for the whole family.",
    " is unreliable and a pain to use.",
    " put us off within minutes.",
    " was full of dumb ideas.",
    " has been a curse so far.",
    " was cramped, dirty and noisy.",
    " turned my day into a bad one.",
    " discouraged me deeply.",
    " is simply hideous.",
    " was bumpy and faulty.",
    " was an insult to the senses.",
    " earned loud boos.",
    " drained all my energy.",
    " was tedious and derivative.",
    " is among the poorest of its kind.",
    " was a failure beyond all expectations.",
    " was panned by all of us, and rightly so.",
    " appalled me with its ugliness.",
    " was late, useless and rude.",
    " felt cold and insulting.",
    " is unsafe, shaky and untrustworthy.",
    " was disgusting in every way.",
    " kept us painfully bored.",
    " was a terrible way to spend an evening.",
    " spoiled my mood at once.",
    " was heartless and fake.",
    " made me ashamed to be there.",
    " is a swindle for what you get.",
    " was drab, thin and lifeless.",
    " left a bitter taste behind.",
    " destroyed my faith in people.",
    " was hard and no fun at all.",
    " is every bit as bad as they say.",
    " was an unlucky mistake.",
    " dragged from beginning to end.",
    " was thoughtless and poorly prepared.",
    " has become my nightmare.",
    " upset and frightened me.",
    " was crude, silly and annoying.",
    " was a rotten idea.",
    " deserves no star at all.",
    " was not worth the long wait.",
    " harmed me very much.",
    " is dreadfully complicated.",
    " made all of us cringe.",
    " was dark, stuffy and repellent.",
    " was a monster of bad taste.",
    " is the shame of our town.",
    " brought me down completely.",
    " was just miserable.",
    " showed no talent at all.",
    " was brutal and uncaring.",
    " fell short of the low standards I have.",
    " is a disgrace to its makers.",
    " was hellish, and we left at once.",
    " disappointed us completely.",
    " made the evening unbearable.",
    " was dreary and full of bad temper.",
    " is unfair, confusing and useless.",
    " was a sad stain on a nice month.",
    " opened old wounds.",
    " was shabby and neglected.",
    " got worse with every minute.",
    " was a complete mess.",
)  # fmt: skip
#: what is continued: neither the things nor the sentences are those of the pairs
STEERED = ("the new café", "the bus tour", "this keyboard", "the swimming pool", "the cooking class", "our landlord",
           "the delivery service", "the winter jacket", "the radio show", "my new job", "the city library",
           "the beach",
           "the language course", "this vacuum cleaner", "the ferry", "the art fair", "the dentist", "this headset",
           "the wedding", "the football match", "our waiter", "the campsite", "the second season", "this mattress",
           "the airline")  # fmt: skip
OPENINGS = ("My honest opinion about {x}:", "Let me tell you about {x}. I think", "Yesterday I tried {x}, and",
            "People keep asking me about {x}. Well,", "After a month with {x} I can say that",
            "When I think of {x}, I")  # fmt: skip
WORDS = Completions.alike(
    "sentiment words",
    (" it was great", " it was wonderful", " I loved it", " I am very happy"),
    (" it was bad", " it was terrible", " I hated it", " I am very angry"),
)
SAYS = (
    "Success: VADER finds the text more positive than negative. "
    "Unsteered continuations are mostly positive already, so that there is little room upwards."
)


def sentiment(pairs: int = 320, corpus: Path | None = None, seed: int = 0) -> Concept:
    """Praise against blame: completions of review openings, or the labelled sentences of a corpus.

    Args:
        pairs: how many completions are drawn of 104 wordings behind 12 openings.
        corpus: a `.csv` or `.jsonl` file with columns `text` and `label` ("positive", "negative"): then the pairs are
            its sentences, in its order, each a group.

    Raises:
        ValueError: no such file or columns, or more pairs than there are.
    """
    prompts = tuple(opening.format(x=x) for opening, x in product(OPENINGS, STEERED))
    if corpus is None:
        wordings = pd.DataFrame({"positive": PRAISE, "negative": BLAME})
        rows = crossed(wordings, list(REVIEWED), pairs, seed)
        return Concept("sentiment", rows, prompts, WORDS, "vader", SAYS, {"contrast": "written completions"})
    labelled = pd.DataFrame(read_rows(corpus, "corpus", ("text", "label")))
    sides = [labelled.text[labelled.label == side].tolist() for side in ("positive", "negative")]
    n = min(pairs, *map(len, sides))
    rows = pd.DataFrame({"positive": sides[0][:n], "negative": sides[1][:n], "group": range(n)})
    return Concept("sentiment-corpus", rows, prompts, WORDS, "vader", SAYS, {"contrast": corpus.name})
