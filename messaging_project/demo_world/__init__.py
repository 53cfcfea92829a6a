"""A believable world for whoever wants to look around: `manage.py seed_demo`.

stories.toml   what is written, by whom, and what becomes of it
stories        the stories as values, with names, dates and numbers filled in
people         who writes to us
fates          timelines, and messages as their timelines have them
mails          HTML, quoted mails and attached files
pictures       what people send by MMS
world          all of it put together, as rows that are not saved yet
keeping        saving a world, and taking it away again
"""
