"""What the pages of all domains share: one file that holds everything, figures without a display.

A page holds everything it shows. Its content policy forbids any network, every text from outside
is escaped, and the same data give the same bytes.
"""
