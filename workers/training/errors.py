"""
Every deliberate failure of training, by who must act; branches of the tree in `app.errors`.

ClientMustAct
├─ BadDataset        pictures, clips or a manifest that cannot be trained on
├─ BadOutput         where something is to be written, it is there already or cannot be
└─ BadRecipe         a recipe that cannot be read, or that means nothing
OperatorMustAct
├─ BadCheckpoint     a checkpoint that cannot be read, or that belongs to another run
└─ NonFiniteLoss     training would have spoilt its weights, and stopped before that
RetryLater
└─ Interrupted       somebody asked training to stop; it can go on from where it was
"""

from app.errors import ClientMustAct, OperatorMustAct, RetryLater


class BadDataset(ClientMustAct):
    """The data cannot be trained on or measured with: damaged, changed, or split unsoundly."""


class BadOutput(ClientMustAct):
    """The place that was given for what is to be written is taken, or cannot be written."""


class BadRecipe(ClientMustAct):
    """The recipe cannot be read, lacks something, or asks for what there is not."""


class BadCheckpoint(OperatorMustAct):
    """The checkpoint is damaged, or is of a run that had another recipe."""


class NonFiniteLoss(OperatorMustAct):
    """The loss or its gradient is not a number. The weights were not touched by it."""


class Interrupted(RetryLater):
    """Training was told to stop, and stopped after writing a checkpoint."""
