"""How are the networks made? The only part that imports torch, with `models.nets`."""
