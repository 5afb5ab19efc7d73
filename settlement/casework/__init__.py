"""Casework: every break is a case, worked by people, ended by a linked adjusting entry only.

`states` says what a case is and how it stands, `acts` what may be done with its money, `work` does
it with a maker and a checker, `ports` is what that needs of the outside.
"""
