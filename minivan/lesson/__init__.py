"""The lesson that `python -m minivan lka` tells.

`numbers` and `photo` compute, the modules named after chapters tell, `chapters` puts them in order, `pictures` draws in
characters, `figure` in Matplotlib.
"""
