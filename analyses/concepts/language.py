"""Language: the same sentences in French and in English."""

from __future__ import annotations

from itertools import product

import pandas as pd

from analyses.concepts.concept import Concept, crossed
from analyses.outcomes import Completions

#: what somebody does, in English and in French
DOES = (
    (" is reading a book in the garden.", " lit un livre dans le jardin."),
    (" works in a big hospital.", " travaille dans un grand hôpital."),
    (" lives near the train station.", " habite près de la gare."),
    (" likes to cook on Sundays.", " aime faire la cuisine le dimanche."),
    (" went to the market this morning.", " est allé au marché ce matin."),
    (" is waiting for the bus.", " attend le bus."),
    (" wants to learn how to swim.", " veut apprendre à nager."),
    (" bought a new car last week.", " a acheté une nouvelle voiture la semaine dernière."),
    (" never drinks coffee after dinner.", " ne boit jamais de café après le dîner."),
    (" is looking for the keys everywhere.", " cherche les clés partout."),
    (" often talks about the weather.", " parle souvent de la météo."),
    (" has lost the old photographs.", " a perdu les vieilles photographies."),
    (" would like to travel to Italy.", " voudrait voyager en Italie."),
    (" sings every evening in the kitchen.", " chante tous les soirs dans la cuisine."),
    (" is writing a long letter to the mayor.", " écrit une longue lettre au maire."),
    (" sold the house by the sea.", " a vendu la maison au bord de la mer."),
    (" gets up very early in summer.", " se lève très tôt en été."),
    (" forgot to close the window.", " a oublié de fermer la fenêtre."),
    (" plays the piano quite well.", " joue assez bien du piano."),
    (" is afraid of the neighbour's dog.", " a peur du chien du voisin."),
    (" will call you back tomorrow.", " te rappellera demain."),
    (" cannot find the right words.", " ne trouve pas les mots justes."),
    (" found some money in the street.", " a trouvé de l'argent dans la rue."),
    (" prefers bread and cheese.", " préfère le pain et le fromage."),
    (" remembers the first day of school.", " se souvient du premier jour d'école."),
    (" is painting the door green.", " peint la porte en vert."),
    (" does not believe this story.", " ne croit pas cette histoire."),
    (" helps the children with their homework.", " aide les enfants à faire leurs devoirs."),
    (" runs along the river on Saturdays.", " court le long de la rivière le samedi."),
    (" is thinking about the future.", " pense à l'avenir."),
    (" grows tomatoes and beans.", " cultive des tomates et des haricots."),
    (" fell asleep in front of the television.", " s'est endormi devant la télévision."),
)
#: who does it: a name is spelled alike in both
WHO = ("Thomas", "Paul", "Martin", "Robert", "Victor", "Simon", "Hugo", "Daniel", "Lucas", "Nathan")
STEERED = ("The weather today", "My grandmother", "Our teacher", "The old bridge", "The little boy",
           "In the evening we",
           "The president", "A friend of mine", "The shop on the corner", "On Monday the committee", "The river",
           "My favourite dish", "The doctor", "At the airport I", "The new neighbours")  # fmt: skip
OPENINGS = ("{x}", "I remember it well. {x}", "Here is what happened next. {x}", "She looked up and said: {x}",
            "This is the story of a town. {x}", "Good morning! {x}", "It was late. {x}", "Chapter one. {x}",
            "We had not expected that. {x}", "Dear all, {x}")  # fmt: skip
WORDS = Completions.alike(
    "function words", (" est", " a", " de la", " était dans le"), (" is", " has", " of the", " was in the")
)


def language(pairs: int = 320, seed: int = 0) -> Concept:
    """French (positive) against English: 32 sentences, each told of ten people whose names both languages share."""
    wordings = pd.DataFrame(DOES, columns=["negative", "positive"])
    rows = crossed(wordings, list(WHO), pairs, seed)
    prompts = tuple(opening.format(x=x) for opening, x in product(OPENINGS, STEERED))
    says = "Success: a detector finds French likelier than not, in what was written behind an English opening."
    return Concept("language", rows, prompts, WORDS, "language:fr", says, {"contrast": "translated sentences"})
