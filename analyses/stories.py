"""Words that a small story model knows: names, and sentences that set a happy or a sad mood.

`sources` and `moods` each add their own. Findings hang on the texts: to change a word is to run them again.
"""

NAMES = ("Lily", "Tom", "Ben", "Mia", "Sara", "Max", "Anna", "Sam", "Tim", "Lucy", "Jack", "Amy", "Rose", "Leo")
HAPPY = ("{n} was so happy. {n} smiled and laughed", "{n} loved the fun day. It was the best",
         "{n} got a nice gift and felt great joy", "{n} played with a good friend and was glad")  # fmt: skip
SAD = ("{n} was so sad. {n} cried and cried", "{n} hated the bad day. It was the worst",
       "{n} lost a nice gift and felt great pain", "{n} fell down alone and was hurt")  # fmt: skip
