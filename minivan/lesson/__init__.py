"""The lesson that `python -m minivan lka` tells.

`numbers` and `photo` compute, the modules named after chapters choose what is told, `texts` has it in every language and
`language` fills the numbers in, `chapters` puts them in order, `pictures` draws in characters, `figure` in Matplotlib.
"""
