"""Operators, their credentials, and the one audit log (rules §14). Pure; adapters keep what it says."""
