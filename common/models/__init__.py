"""Models, their towers, and the engines that run them."""
