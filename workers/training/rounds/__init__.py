"""How does a better detector come to be? Forge, learn from it, compare, and promote on proof."""
