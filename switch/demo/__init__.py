"""`tongbao demo`: a whole day with simulated terminals and banks, and the day's end.

plan     the day as data          node     the switch as a child process
day      trading and its troubles, then the close
money    every party's count      breaks   what reconciliation had to find
show     tables                   texts    English and Chinese
"""

from switch.demo.command import run

__all__ = ["run"]
