"""The explorer: a page on this machine to see and tune a recipe.

`controls` is what the page asks, `showing` makes the clip that it means, `pictures` and `numbers`
show it, `copies` gives it away, `objects` browses the bank; `page` lays all out with Gradio,
`guard` and `server` see to it that nothing else is served.
"""
