"""The explorer: a page on this machine to see and tune a recipe.

`state` holds the controls and renders their clip, `views` shows the clip and browses the bank,
`snippets` turns it into a command and Python, `app` lays out the page with Gradio, and `server`
and `guard` serve the page, and nothing else, to this machine alone.
"""
