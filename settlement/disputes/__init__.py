"""Disputes: what issuers ask of us and we of them, through the network, after the sale.

`table` has the states, `reasons` the network's codes, `money` what an event moves, `intake` the rows
of error files (ERRA), `work` what people do.
"""
