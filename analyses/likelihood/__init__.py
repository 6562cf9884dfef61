"""What `analyses.trajectory_likelihood` is made of: arms, referees, generated text, tables, and two commands."""
