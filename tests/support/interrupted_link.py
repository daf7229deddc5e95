"""Ctrl-C at the worst moment: right after a file got its name."""

INTERRUPTED_LINK = """
import os, signal

link = os.link
def interrupted(*names):
    link(*names)
    os.kill(os.getpid(), signal.SIGINT)

os.link = interrupted
"""
"""The first lines of a program."""
