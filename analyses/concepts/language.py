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
    (" is buying flowers at the corner shop.", " achète des fleurs au magasin du coin."),
    (" is washing the dishes in the kitchen.", " fait la vaisselle dans la cuisine."),
    (" is feeding the cat behind the house.", " donne à manger au chat derrière la maison."),
    (" is drawing a map of the village.", " dessine une carte du village."),
    (" is walking to school with a friend.", " va à l'école à pied avec un ami."),
    (" is repairing an old bicycle.", " répare un vieux vélo."),
    (" is talking to the postman.", " parle avec le facteur."),
    (" is baking a cake for the party.", " prépare un gâteau pour la fête."),
    (" is learning to drive a lorry.", " apprend à conduire un camion."),
    (" is sleeping on the sofa.", " dort sur le canapé."),
    (" is counting the birds on the roof.", " compte les oiseaux sur le toit."),
    (" is carrying a heavy suitcase.", " porte une lourde valise."),
    (" is standing in front of the church.", " se tient devant l'église."),
    (" is planning a trip to the mountains.", " prépare un voyage à la montagne."),
    (" is laughing at a silly joke.", " rit d'une blague idiote."),
    (" is cutting the grass this afternoon.", " tond la pelouse cet après-midi."),
    (" is reading the newspaper on the train.", " lit le journal dans le train."),
    (" is looking at the stars tonight.", " regarde les étoiles ce soir."),
    (" is cleaning the windows upstairs.", " nettoie les fenêtres à l'étage."),
    (" is building a wooden table.", " fabrique une table en bois."),
    (" is searching for a cheap flat.", " cherche un appartement pas cher."),
    (" is listening to an old song.", " écoute une vieille chanson."),
    (" is waiting at the dentist's.", " attend chez le dentiste."),
    (" is teaching the children to read.", " apprend à lire aux enfants."),
    (" is putting the books on the shelf.", " range les livres sur l'étagère."),
    (" is knitting a warm scarf.", " tricote une écharpe chaude."),
    (" is fishing on the lake.", " pêche sur le lac."),
    (" is drinking tea with the neighbours.", " boit du thé avec les voisins."),
    (" is picking apples behind the farm.", " cueille des pommes derrière la ferme."),
    (" is folding the clean shirts.", " plie les chemises propres."),
    (" is locking the garage.", " ferme le garage à clé."),
    (" is visiting a cousin in the hospital.", " rend visite à un cousin à l'hôpital."),
    (" is taking photographs of the harbour.", " prend des photos du port."),
    (" is climbing the stairs slowly.", " monte lentement l'escalier."),
    (" is peeling potatoes for the soup.", " épluche des pommes de terre pour la soupe."),
    (" is dancing in the living room.", " danse dans le salon."),
    (" has broken the blue vase.", " a cassé le vase bleu."),
    (" has missed the last bus.", " a raté le dernier bus."),
    (" has eaten all the biscuits.", " a mangé tous les biscuits."),
    (" has bought a pair of shoes.", " a acheté une paire de chaussures."),
    (" has forgotten the umbrella at work.", " a oublié le parapluie au travail."),
    (" has moved to a smaller town.", " a déménagé dans une ville plus petite."),
    (" has read this book three times.", " a lu ce livre trois fois."),
    (" has written to the bank.", " a écrit à la banque."),
    (" has cooked rice and fish.", " a cuisiné du riz et du poisson."),
    (" has opened a small bakery.", " a ouvert une petite boulangerie."),
    (" has won the chess game.", " a gagné la partie d'échecs."),
    (" has seen the doctor today.", " a vu le médecin aujourd'hui."),
    (" has hidden the key under a stone.", " a caché la clé sous une pierre."),
    (" has paid the bill already.", " a déjà payé la facture."),
    (" has planted two cherry trees.", " a planté deux cerisiers."),
    (" has lent the car to a colleague.", " a prêté la voiture à un collègue."),
    (" has answered every question.", " a répondu à toutes les questions."),
    (" has invited the whole class.", " a invité toute la classe."),
    (" has borrowed a ladder.", " a emprunté une échelle."),
    (" has sung in a choir for years.", " a chanté dans une chorale pendant des années."),
    (" will leave for Spain next month.", " partira en Espagne le mois prochain."),
    (" will bring bread and butter.", " apportera du pain et du beurre."),
    (" will stay at home on Friday.", " restera à la maison vendredi."),
    (" will repair the roof in autumn.", " réparera le toit en automne."),
    (" will study medicine in Lyon.", " étudiera la médecine à Lyon."),
    (" will meet us at the station.", " nous retrouvera à la gare."),
    (" will wear a red hat.", " portera un chapeau rouge."),
    (" will feed the chickens tomorrow.", " nourrira les poules demain."),
    (" will show you the castle.", " te montrera le château."),
    (" will sleep in the small room.", " dormira dans la petite chambre."),
    (" can play the violin.", " sait jouer du violon."),
    (" can see the sea from the window.", " voit la mer depuis la fenêtre."),
    (" can hear the bells.", " entend les cloches."),
    (" can help you after lunch.", " peut t'aider après le déjeuner."),
    (" can reach the top shelf.", " atteint l'étagère du haut."),
    (" can walk for hours without a break.", " peut marcher des heures sans pause."),
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
    """French (positive) against English: 104 sentences of ten people whose names both languages share."""
    wordings = pd.DataFrame(DOES, columns=["negative", "positive"])
    rows = crossed(wordings, list(WHO), pairs, seed)
    prompts = tuple(opening.format(x=x) for opening, x in product(OPENINGS, STEERED))
    says = "Success: a detector finds French likelier than not, in what was written behind an English opening."
    return Concept("language", rows, prompts, WORDS, "language:fr", says, {"contrast": "translated sentences"})
