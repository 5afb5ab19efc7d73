"""The books: clearing files, reconciliation, fees, ledger, nets, the day's end. Start at `close.py`."""
