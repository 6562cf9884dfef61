"""What `analyses.barrier_certification` is made of: what is proved, what is found, and what audits h itself."""
