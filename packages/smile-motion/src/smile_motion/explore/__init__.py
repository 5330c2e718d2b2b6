"""The explorer: a page on this machine to see and tune a recipe.

`state` holds the controls and renders their clip, `knobs` says what each does, `objects` browses
the bank, `snippets` turns the clip into a command and Python, and `page` answers the page's calls.
`server` and `guard` serve a page, and nothing else, to this machine alone; other pages that look
at clips use them too. The page itself is `explorer.html` with its script and style, and the player
of `smile_motion.player`.
"""
