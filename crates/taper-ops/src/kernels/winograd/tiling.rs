//! How Winograd's algorithms tile a convolution's output, and which of them pays.

/// Pairs of channels above which transforming the weights anew for each batch costs more for larger tiles than it saves.
const MOST_PAIRS: usize = 256 * 256;

/// Outputs per image up to which transforming the weights does not pay for a few images.
const FEWEST_OUTPUTS: usize = 9;

/// Which of Winograd's algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// F(2x2, 3x3).
    Two,
    /// F(4x4, 3x3).
    Four,
}

impl Algorithm {
    /// Outputs on a side of a tile.
    pub(super) fn outputs(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Cells of a transformed tile.
    pub(super) fn cells(self) -> usize {
        (self.outputs() + 2).pow(2)
    }
}

/// Images and their outputs, in tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiling {
    pub(crate) algorithm: Algorithm,
    pub(crate) images: usize,
    /// Height and width of the source.
    pub(crate) source: (usize, usize),
    /// Height and width of the output.
    pub(crate) output: (usize, usize),
    /// Cells of zeros on each side of the source.
    pub(crate) padding: usize,
}

impl Tiling {
    /// The fastest algorithm for outputs of this size and these numbers of channels, if one is worth its
    /// transforms; `kept` says that weights are transformed once, for many images. Neither it nor an image's bits depend
    /// on the number of images.
    pub(crate) fn choose((h, w): (usize, usize), inputs: usize, outputs: usize, kept: bool) -> Option<Algorithm> {
        let cells = |algorithm: Algorithm| {
            let m = algorithm.outputs();
            algorithm.cells() * h.div_ceil(m) * w.div_ceil(m)
        };
        let (two, four) = (cells(Algorithm::Two), cells(Algorithm::Four));
        let best = if four * 10 < two * 9 && (kept || inputs * outputs <= MOST_PAIRS) {
            Algorithm::Four
        } else {
            Algorithm::Two
        };
        let pays = h * w > FEWEST_OUTPUTS && cells(best) * 5 < 9 * h * w * 4;
        (inputs >= 16 && outputs >= 16 && pays).then_some(best)
    }

    pub(super) fn down(&self) -> usize {
        self.output.0.div_ceil(self.algorithm.outputs())
    }

    pub(super) fn across(&self) -> usize {
        self.output.1.div_ceil(self.algorithm.outputs())
    }

    /// Tile rows that make up a part of about `cells` cells.
    pub(super) fn rows_of(&self, cells: usize) -> usize {
        (cells / (self.algorithm.cells() * self.across().max(1))).max(1)
    }

    /// Returns `true` if summing over the tiles outweighs transforming the sums back, which costs as
    /// much as a dozen tiles.
    pub(crate) fn pays_back(&self) -> bool {
        let (tiles, (h, w)) = (self.images * self.down() * self.across(), self.output);
        self.algorithm.cells() * (tiles + 12) < 9 * self.images * h * w
    }

    /// Image rows that the tile rows before `row`, counted through all images, cover.
    pub(super) fn rows_before(&self, row: usize) -> usize {
        row / self.down() * self.output.0 + self.algorithm.outputs() * (row % self.down())
    }
}
