"""A page on this machine that shows what an encoder makes of clips.

It has the player, knobs and guarded server of `smile_motion.explore`: `scene` makes the clip and
its features, `page` answers the page's calls, and the page is `encoder.html` with its script.
"""
