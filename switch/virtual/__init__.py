"""Virtual time: the loop and the network in memory on which the switch runs without a real second or byte."""
