"""The models, their text and image towers, and the engines that run them."""
