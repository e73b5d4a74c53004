"""Project the last hidden vectors of many images onto a plane, by t-SNE or PCA."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet.errors import DataError, unknown_name

METHODS = ("t-sne", "pca")
TSNE_LEAST = 12  # images that t-SNE needs for its neighbourhoods


def project(vectors: ArrayLike, method: str = "t-sne", seed: int = 0) -> NDArray[np.float64]:
    """(N, D) -> (N, 2), a function of the vectors, the method and the seed.

    "pca": the first two principal components. "t-sne" (van der Maaten and Hinton 2008): preserves neighbourhoods, not
    distances; computed from the first 50 principal components with perplexity 30, or a third of the images, initialised
    with PCA. DataError for fewer than three images, or twelve for t-SNE, and where all vectors are equal.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in METHODS:
        raise unknown_name("projection", method, METHODS)
    values = np.asarray(vectors, np.float64)
    least = TSNE_LEAST if method == "t-sne" else 3
    if len(values) < least:
        raise DataError(f"{len(values)} images are too few for a projection by {method}; give {least} or more")
    if not np.ptp(values, axis=0).any():
        raise DataError("all images have the same vector, so there is nothing to project; train the network for longer")
    if method == "pca":
        return np.asarray(PCA(2, random_state=seed).fit_transform(values), np.float64)
    kept = PCA(min(50, *values.shape), random_state=seed).fit_transform(values)
    kept /= max(float(kept[:, 0].std()), 1e-12)
    perplexity = min(30.0, (len(values) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(kept), np.float64)
