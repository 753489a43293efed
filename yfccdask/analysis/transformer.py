"""A run's features for scikit-learn (extra ``probe``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yfccdask.analysis.loaded_networks import loaded_network
from yfccdask.analysis.network_pass import units_of_tiles
from yfccdask.analysis.results import chosen_commit
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import DataError, RunError
from yfccdask.numerics.whole_network import WholeNetwork, contrast_of, forward_images

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError:  # only those who make an Encoder need it
    BaseEstimator = TransformerMixin = object  # type: ignore[assignment,misc]
    check_is_fitted = None


class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What a trained network makes of images, as features for a classifier.

    Nothing is learned by `fit`: the network stays as the run left it.

    Parameters
    ----------
    run : Run or path
    layers : sequence of int, optional
        Counted from 1, side by side in this order; the top one where not given.
    checkpoint : int, optional
        A commit's number; the latest where not given.
    rectify : bool
        Both signs of every response apart, ``max(s, 0)`` and ``max(-s, 0)``: twice the features.
        A linear classifier on ``s`` itself can't tell a strong response of either sign from none.
    batch : int
        Images that are worked on at once.

    Raises
    ------
    RunError
        On construction if scikit-learn isn't there; on `fit` if the run holds no such layer or
        doesn't fit in memory.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline  # doctest: +SKIP
    >>> model = make_pipeline(Encoder("run-1"), StandardScaler(), LogisticRegression())
    ... # doctest: +SKIP
    >>> model.fit(images, labels)  # doctest: +SKIP
    """

    def __init__(
        self,
        run: Run | str | Path,
        *,
        layers: Sequence[int] | None = None,
        checkpoint: int | None = None,
        rectify: bool = False,
        batch: int = 256,
    ) -> None:
        if check_is_fitted is None:
            raise RunError(
                "expected the package scikit-learn for an Encoder, found none: "
                "pip install 'yfccdask[probe]'"
            )
        self.run, self.layers, self.checkpoint = run, layers, checkpoint
        self.rectify, self.batch = rectify, batch

    def fit(self, X: Any, y: Any = None) -> Encoder:
        """Read the network. ``X`` (image, y, x, channel) only has to be of the run's images."""
        run = open_run(self.run)
        commit = chosen_commit(run, self.checkpoint)
        self.layers_ = tuple(self.layers or (commit.layers,))
        self.network_: WholeNetwork = loaded_network(run, commit, max(self.layers_))
        images = run.config.images
        self.shape_, self.dtype_ = (images.size, images.size, images.channels), images.dtype
        self.n_features_in_ = int(np.prod(self.shape_))
        self._images(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The responses of the layers' units.

        Parameters
        ----------
        X : array (image, y, x, channel) of the run's dtype (uint8)
            Or flat, (image, y * x * channel), with values of that dtype.

        Returns
        -------
        array (image, feature) of float32
            ``s = alpha W x`` before LCN, over layers, positions and units, the last fastest.

        Raises
        ------
        DataError
            If these are not images of the run's size, channels and dtype.
        """
        check_is_fitted(self)
        images = self._images(X)
        parts = [images[at : at + self.batch] for at in range(0, len(images), self.batch)]
        width = len(self.get_feature_names_out())
        empty = np.zeros((0, width), self.network_.dtype)
        return np.concatenate([empty, *(self._features(part) for part in parts)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Every feature's name, such as ``layer1_y0_x3_unit17`` and, rectified, ``..._pos``."""
        check_is_fitted(self)
        names = [name for number in self.layers_ for name in self._layer_names(number)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.requires_fit, tags.no_validation = True, True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Without the weights: they are read again where the encoder is unpickled."""
        state = dict(super().__getstate__())
        state.pop("network_", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "layers_" in state:
            run = open_run(self.run)
            commit = chosen_commit(run, self.checkpoint)
            self.network_ = loaded_network(run, commit, max(self.layers_))

    def _images(self, X: Any) -> np.ndarray:
        values = np.asarray(X)
        if values.ndim == 2 and values.shape[1] == self.n_features_in_:
            values = values.reshape(-1, *self.shape_)
        if values.shape[1:] != self.shape_:
            raise DataError(
                f"expected images of shape (n, {', '.join(map(str, self.shape_))}) as the run's, "
                f"found {values.shape}"
            )
        if values.dtype == self.dtype_:
            return values
        return self._converted(values)

    def _converted(self, values: np.ndarray) -> np.ndarray:
        """Integers of another dtype that are the run's values."""
        largest = np.iinfo(self.dtype_).max
        whole = values.dtype.kind in "iuf" and np.array_equal(values, np.rint(values))
        if not whole or (values.size and (values.min() < 0 or values.max() > largest)):
            raise DataError(
                f"expected values of {self.dtype_}, whole numbers from 0 to {largest}, found "
                f"others ({values.dtype}): are the images scaled? Give them as they were read"
            )
        return values.astype(self.dtype_)

    def _features(self, images: np.ndarray) -> np.ndarray:
        outputs = forward_images(self.network_, contrast_of(self.network_, images))
        parts = []
        for number in self.layers_:
            tile = self.network_.layers[number - 1].tile
            s = units_of_tiles(outputs[number - 1], tile).reshape(len(images), -1)
            parts += [np.maximum(s, 0), np.maximum(-s, 0)] if self.rectify else [s]
        return np.concatenate(parts, axis=1)

    def _layer_names(self, number: int) -> list[str]:
        weights = self.network_.layers[number - 1].weights
        names = [f"layer{number}_y{y}_x{x}_unit{u}" for y, x, u in np.ndindex(weights.shape[:3])]
        if not self.rectify:
            return names
        return [f"{name}_{sign}" for sign in ("pos", "neg") for name in names]
