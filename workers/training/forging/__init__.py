"""How is a forger made: faces of two people, a network that exchanges them, and proof of it."""
