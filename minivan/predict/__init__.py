"""From paths to answers: the images that paths name, decoded ahead of the network, and the classes they show."""
