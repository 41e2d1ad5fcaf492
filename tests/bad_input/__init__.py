"""Invalid input of all kinds: each ends in one line that names the file or argument, and the fix.

A file of tests per kind of input lists its cases in `CASES`: what is wrong → (call, words of the message).
"""
