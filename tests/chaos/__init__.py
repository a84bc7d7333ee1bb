"""Kills the processes under load and checks promises P1 to P3 from outside."""
