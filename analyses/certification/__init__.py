"""The rooms behind `analyses.barrier_certification`: what is proved, what is found, and what audits h itself."""
