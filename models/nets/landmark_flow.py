"""Does a face move as faces do, by its points and its pixels? The network alone."""

from torch import Tensor, nn

WIDTH = 32
UNITS = 24
"""Of the recurrent network, each way."""


class LandmarkFlow(nn.Module):
    """
    Reads how points and pixels moved, frame by frame, and says whether that looks manipulated.

    Convolutions in time see what is over within a few frames, trembling and stray pixels; a
    recurrent network after them sees how that goes on. It is read at every step and averaged, so
    that no single moment decides.

    Source: the combination of Sabir et al., "Recurrent Convolutional Strategies for Face
    Manipulation Detection in Videos", CVPRW 2019, on the inputs of Sun et al., "Improving the
    Efficiency and Robustness of Deepfakes Detection through Precise Geometric Features", CVPR 2021,
    and Amerini et al., "Deepfake Video Detection through Optical Flow based CNN", ICCVW 2019.

    Args:
        channels: numbers told of a frame.
        dropout: share of channels of the input that are hidden in training, each for a whole
            window, and of what the last layer reads.
    """

    def __init__(self, *, channels: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels, affine=False)
        self.hide = nn.Dropout1d(dropout)
        self.mix = nn.Conv1d(channels, WIDTH, 1)
        self.convolutions = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(WIDTH, WIDTH, 5, padding=2),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.AvgPool1d(2),
            nn.Conv1d(WIDTH, WIDTH, 5, padding=2),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.AvgPool1d(2),
        )
        self.recurrent = nn.GRU(WIDTH, UNITS, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * UNITS, 1))

    def forward(self, motion: Tensor) -> Tensor:
        """
        Judge windows.

        Args:
            motion: float32 `[N, T, C]`, as `workers.detection.landmark_flow.window` tells it.

        Returns:
            Log odds of manipulated, `[N]`.
        """
        seen = self.mix(self.hide(self.norm(motion.transpose(1, 2))))
        steps = self.convolutions(seen).transpose(1, 2)
        read, _ = self.recurrent(steps)
        said: Tensor = self.head(read.mean(dim=1))[:, 0]
        return said
