"""Payouts: proposed by a maker, released by a checker, written as one file a batch.

    propose    orders of what is due, by account and currency; their money is spoken for from here on
    release    a different operator lets the batch go: the payable falls, in the same commit
    export     the file, a function of the stored orders: written again, it is the same bytes
    rejection  two people say that the bank did not execute an order
    dates      what a posted date comes to: withheld, funded, paid, confirmed

An order's end-to-end id derives from (payout date, cycle, payee, currency, sequence) and is
unique in the store. What was released is never made into another order unless the bank gave it
back; then the new one names the old one and counts one sequence on.
"""
