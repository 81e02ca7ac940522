"""The lesson that `python -m minivan lka` tells.

`numbers` and `photo` compute, `chapters` and `photo_chapter` tell, `pictures` draws in characters, `figure` in Matplotlib.
"""
