"""Training through the model: a field's parameters against what a frozen language model then says."""

from odesteer_tl.training.course import Course as Course
from odesteer_tl.training.learner import Learner as Learner
from odesteer_tl.training.learner import learner_of as learner_of
from odesteer_tl.training.objectives import Likelihood as Likelihood
from odesteer_tl.training.objectives import Objective as Objective
from odesteer_tl.training.objectives import Preference as Preference
from odesteer_tl.training.settings import Training as Training
from odesteer_tl.training.trainer import Trained as Trained
from odesteer_tl.training.trainer import train as train
