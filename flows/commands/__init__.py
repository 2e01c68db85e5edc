"""The commands of ``nightlab``, by what they work on; heavy imports stay inside them."""
