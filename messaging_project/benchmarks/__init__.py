"""How fast it is: one file for each question; each prints one line of JSON for each answer.

`world` is what they are asked of, `ground` the stack, `page` a page as a browser gets it.
"""
