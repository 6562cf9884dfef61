"""Analyses: questions asked of a model. Tidy tables out; no pictures here."""
