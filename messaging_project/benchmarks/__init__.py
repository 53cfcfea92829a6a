"""How fast it is: one file for each question, each prints one line of JSON for each answer.

world         200,000 conversations with 2,000,000 messages, made by the database itself
ground        the stack that is measured: its own PostgreSQL, Valkey and processes
page          a page as a browser gets it: logged in, with its links
staff_pages   how long staff wait for a list or a thread
"""
