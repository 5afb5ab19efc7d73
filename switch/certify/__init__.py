"""The certification pack: scripted cases against a bank's link, and what crossed it, for the bank's people.

Reading order: `case.py` and `cases/*.toml` (what is asked), `tap.py` (the wire, with its faults), `rig.py`
(the switch between a terminal and the link), `runner.py` (steps, expectations), `pack.py`, `report.py`
(what is handed over).
"""
