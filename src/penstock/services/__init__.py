"""Servers that Penstock starts on this machine. One module for each."""
