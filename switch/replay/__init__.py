"""Recorded traffic through another build: the journal's export, its player, and what two runs differ in.

Reading order: `journal_file.py` (the format), `export.py` and `cards.py` (out of the store, without a
card number), `player.py` (the switch in virtual time between played terminals and banks), `builds.py`
(each build in a process of its own), `compare.py` (the differences).
"""
