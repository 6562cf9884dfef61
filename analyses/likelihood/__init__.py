"""The rooms behind `analyses.trajectory_likelihood`: arms, referees, generated text, tables, and two commands."""
