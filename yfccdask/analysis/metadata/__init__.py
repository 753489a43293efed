"""What is in a converted metadata set: the figures of YFCC100M's paper, and a page of them."""
