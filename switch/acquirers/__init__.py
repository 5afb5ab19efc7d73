"""Hosts that authorise: one port (`ports.py`), one adapter for each kind of host."""
