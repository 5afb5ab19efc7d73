"""Reports for people and scripts: values in, bytes out.

`model` says what a report is; `html`, `xlsx` and `csv` write one; the other modules make one each.
Nothing here reads a clock: the only instant is the recorded one of the date's first run, and every
table has a total order, so a report is the same bytes whenever it is made.
"""
