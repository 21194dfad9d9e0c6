"""How to run each classical method: frozen values beside those of the networks, never torch.

Lengths are in pixels of the picture as the method sees it, brightness is 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from everymask.classical.bases import (
    Foreground,
    ObjectMethod,
    Partition,
    PixelMethod,
    Polarity,
    check_least,
    check_window,
)
from everymask.errors import ConfigError

Features: TypeAlias = Literal["rgb", "lab", "lab+xy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold(Foreground):
    """One brightness for the whole picture.

    It is multiplied by `factor`, counted from black where bright is foreground, and from white where dark is. With a
    `block` foreground must also be brighter (or darker) than the mean of the block x block pixels around it.
    """

    factor: float = 1.0
    block: int = 0

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_least("factor", self.factor, 0)
        check_least("block", self.block, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Otsu(Threshold):
    """Otsu 1979: the threshold between the two classes whose means lie farthest apart, of 256 grey levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Li(Threshold):
    """Li and Tam 1998: the threshold of least cross entropy, by scikit-image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle(Threshold):
    """Zack et al. 1977: where the histogram lies deepest below the line from its peak to its end, by OpenCV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive(Foreground):
    """A threshold for each pixel: the mean of the `block` x `block` pixels around it, less `offset`."""

    block: int = 101
    offset: float = 0.0
    method: Literal["gaussian", "mean"] = "gaussian"

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_window("block", self.block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sauvola(Foreground):
    """Sauvola and Pietikäinen 2000, by scikit-image: a threshold for each pixel by the mean and the standard deviation
    of the `window` x `window` pixels around it, for dark writing on paper.
    """

    polarity: Polarity = "dark"
    window: int = 25
    k: float = 0.2

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_window("window", self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hysteresis(Foreground):
    """Parts above `low` that reach above `high` somewhere, both as multiples of Otsu's threshold, by scikit-image."""

    low: float = 0.7
    high: float = 1.0

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        if not 0 <= self.low <= self.high:
            raise ConfigError(f"low and high must be 0 <= low <= high, but got {self.low} and {self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiOtsu(PixelMethod):
    """Otsu's criterion for 2 to 5 `classes`, the darkest first (Liao et al. 2001), by scikit-image."""

    classes: int = 3

    def __post_init__(self) -> None:
        PixelMethod.__post_init__(self)
        if not 2 <= self.classes <= 5:
            raise ConfigError(f"classes must be 2 to 5, but got {self.classes}")

    @property
    def num_classes(self) -> int:
        """As many as were asked for."""
        return self.classes


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionGrowing(Foreground):
    """What hangs together with the seeds and is at most `tolerance` brighter or darker than they are, by OpenCV.

    `seeds` are x, y, x, y ... as shares (0 to 1) of width and height. Without them the background grows, from the four
    corners, and foreground is the rest.
    """

    seeds: tuple[float, ...] = ()
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        if len(self.seeds) % 2 or not all(0 <= share <= 1 for share in self.seeds):
            raise ConfigError(f"seeds must be pairs x, y from 0 to 1, but got {self.seeds}")
        check_least("tolerance", self.tolerance, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrabCut(Foreground):
    """Rother et al. 2004, by OpenCV: mixtures of colours inside and outside of a box, and a cut where they part.

    `box` is x1, y1, x2, y2 as shares (0 to 1) of width and height; all outside of it is background.
    """

    side: int = 256
    blur: float = 0.0
    box: tuple[float, float, float, float] = (0.05, 0.05, 0.95, 0.95)
    iterations: int = 3

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        x1, y1, x2, y2 = self.box
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise ConfigError(f"box must be x1 < x2 and y1 < y2 from 0 to 1, but got {self.box}")
        check_least("iterations", self.iterations, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWalker(Foreground):
    """Grady 2006, by scikit-image: from each unsure pixel a random walk to the sure ones, which hardly crosses edges.

    Sure is what is farther than `margin` times the range of brightness from Otsu's threshold; `beta` is how much edges
    hinder.
    """

    side: int = 400
    beta: float = 130.0
    margin: float = 0.1

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_least("beta", self.beta, 0)
        if not 0 < self.margin < 0.5:
            raise ConfigError(f"margin must lie between 0 and 0.5, but got {self.margin}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanVese(Foreground):
    """Chan and Vese 2001, by scikit-image: a contour, as short as `mu` asks, around what differs most from the rest."""

    side: int = 256
    mu: float = 0.25
    iterations: int = 100

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_least("mu", self.mu, 0)
        check_least("iterations", self.iterations, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveContour(Foreground):
    """Morphological geodesic active contours (Marquez-Neila et al. 2014), by scikit-image.

    A contour comes from the border of the picture, `iterations` pixels far, and stops where edges of steepness `alpha`
    are.
    """

    side: int = 200
    alpha: float = 100.0
    iterations: int = 100

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_least("alpha", self.alpha, 0)
        check_least("iterations", self.iterations, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanShift(Foreground):
    """Comaniciu and Meer 2002, by OpenCV: pixels move to the modes of their `space` (pixels) and `colour` (0 to 255)
    neighbourhood; Otsu's threshold then divides the picture of modes.
    """

    side: int = 400
    space: int = 8
    colour: int = 24

    def __post_init__(self) -> None:
        Foreground.__post_init__(self)
        check_least("space", self.space, 1)
        check_least("colour", self.colour, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters(PixelMethod):
    """Pixels divided into `classes` clusters by their colour, with "lab+xy" also by their place.

    Two are background and foreground, which is the smaller one; more are ordered by brightness, the darkest first.
    They are found on `samples` pixels drawn by `seed`.
    """

    classes: int = 2
    features: Features = "lab"
    samples: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        PixelMethod.__post_init__(self)
        if not 2 <= self.classes <= 16:
            raise ConfigError(f"classes must be 2 to 16, but got {self.classes}")
        check_least("samples", self.samples, 100)
        check_least("seed", self.seed, 0)

    @property
    def num_classes(self) -> int:
        """As many as were asked for."""
        return self.classes


@dataclass(frozen=True, slots=True, kw_only=True)
class KMeans(Clusters):
    """Lloyd 1982, started as by Arthur and Vassilvitskii 2007 (k-means++), by OpenCV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianMixture(Clusters):
    """A mixture of Gaussian distributions, fitted by expectation maximisation, by scikit-learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelForest(PixelMethod):
    """A random forest (Breiman 2001) that says of every pixel what it is, by brightness, edges and texture around it.

    It learns from `samples_per_picture` pixels of each of up to `pictures` training pictures. `sigmas` are the smallest
    and the largest scale of its features, which double from one to the other (scikit-image's
    `multiscale_basic_features`).
    """

    learns: ClassVar[bool] = True
    blur: float = 0.0
    trees: int = 100
    depth: int = 14
    sigmas: tuple[float, float] = (1.0, 8.0)
    pictures: int = 16
    samples_per_picture: int = 4000
    classes: int = 2

    def __post_init__(self) -> None:
        PixelMethod.__post_init__(self)
        if not 1 <= self.trees <= 1000 or not 1 <= self.depth <= 30:
            raise ConfigError(f"trees must be 1 to 1000 and depth 1 to 30, but got {self.trees} and {self.depth}")
        if not 0 < self.sigmas[0] <= self.sigmas[1] <= 64:
            raise ConfigError(f"sigmas must be 0 < smallest <= largest <= 64, but got {self.sigmas}")
        check_least("pictures", self.pictures, 1)
        check_least("samples_per_picture", self.samples_per_picture, 1)
        check_least("classes", self.classes, 1)

    @property
    def num_classes(self) -> int:
        """Those of the data that it learned from."""
        return self.classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Watershed(ObjectMethod):
    """Foreground by a threshold, cut into objects by a watershed (Beucher and Meyer 1993), by scikit-image.

    Each object has one peak, at least `h` above the pass to the next: of the distance to the background, or of the
    brightness as percent of its range, after a Gaussian of `sigma`. `blur`, `polarity`, `factor` and `block` are the
    threshold's.
    """

    foreground: Literal["otsu", "li", "triangle"] = "otsu"
    markers: Literal["distance", "intensity"] = "distance"
    h: float = 0.75
    sigma: float = 1.5
    blur: float = 1.0
    polarity: Polarity = "auto"
    factor: float = 1.0
    block: int = 0

    def __post_init__(self) -> None:
        ObjectMethod.__post_init__(self)
        for name in ("h", "sigma", "blur", "factor", "block"):
            check_least(name, getattr(self, name), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerWatershed(ObjectMethod):
    """OpenCV's watershed on the colours of the picture, from the insides of a threshold's parts.

    Inside is what lies deeper than `inside` times the deepest place of its part; background is what is not within
    `margin` pixels of the foreground.
    """

    inside: float = 0.6
    margin: int = 4
    blur: float = 1.0
    polarity: Polarity = "auto"

    def __post_init__(self) -> None:
        ObjectMethod.__post_init__(self)
        check_least("blur", self.blur, 0)
        check_least("margin", self.margin, 1)
        if not 0 < self.inside < 1:
            raise ConfigError(f"inside must lie between 0 and 1, but got {self.inside}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CannyContours(ObjectMethod):
    """What closed edges enclose (Canny 1986), by OpenCV. `low` and `high` are the two thresholds of gradients, 0 to 1;
    gaps of up to `gap` pixels are closed.
    """

    blur: float = 1.5
    low: float = 0.1
    high: float = 0.2
    gap: int = 3

    def __post_init__(self) -> None:
        ObjectMethod.__post_init__(self)
        check_least("blur", self.blur, 0)
        check_least("gap", self.gap, 0)
        if not 0 <= self.low <= self.high:
            raise ConfigError(f"low and high must be 0 <= low <= high, but got {self.low} and {self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitMerge(Partition):
    """Horowitz and Pavlidis 1976: quarters while the standard deviation exceeds `spread`; then neighbours whose means
    differ by less than `merge` become one. Quarters are at least `least` pixels wide.
    """

    spread: float = 0.05
    merge: float = 0.05
    least: int = 4

    def __post_init__(self) -> None:
        Partition.__post_init__(self)
        check_least("spread", self.spread, 0)
        check_least("merge", self.merge, 0)
        check_least("least", self.least, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Felzenszwalb(Partition):
    """Felzenszwalb and Huttenlocher 2004, by scikit-image; the larger `scale`, the larger the regions."""

    scale: float = 200.0
    sigma: float = 0.8
    min_area: int = 50

    def __post_init__(self) -> None:
        Partition.__post_init__(self)
        check_least("scale", self.scale, 0)
        check_least("sigma", self.sigma, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SLIC(Partition):
    """Achanta et al. 2012, by scikit-image: about `segments` superpixels, the squarer the higher `compactness`."""

    segments: int = 250
    compactness: float = 10.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        Partition.__post_init__(self)
        check_least("segments", self.segments, 1)
        check_least("sigma", self.sigma, 0)
        if self.compactness <= 0:
            raise ConfigError(f"compactness must be greater than 0, but got {self.compactness}")
