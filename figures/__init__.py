"""Figures: tables in, vector PDF and PNG out; no model code."""
