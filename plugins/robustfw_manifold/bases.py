"""Bases of the tangent space: four ways to find one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Self, final

import attrs
from attrs.validators import deep_iterable, ge, gt, in_, instance_of, min_len

from robustfw import UsageError, learnt, with_learnt

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.data.splits import Split
    from robustfw_manifold.autoencoder import Autoencoder

from robustfw_manifold.basis import Basis

MOVES = (
    "horizontal",
    "vertical",
    "rotation",
    "scaling",
    "stretch",
    "shear",
    "thickness",
)
"""The changes of an image whose tangents `Transform` knows, see `robustfw_manifold.transforms`."""


def _not_fitted(name: str) -> UsageError:
    """The error of a basis that learns from data and is used before it was fitted."""
    return UsageError(
        f"the basis {name} has not seen any data: call .fit(train) on the set or the objective, with the split of "
        "training examples (robustfw's commands and robustfw.train do)"
    )


_N_COMPONENTS = "directions at most"
_POINTS = "how many training examples are used at most: the first ones"


@final
@attrs.frozen
class Transform(Basis):
    """Differences under small translations, rotation, scaling, thickness: classic tangents (Simard et al. 1998)."""

    moves: Annotated[tuple[str, ...], f"a list of {', '.join(MOVES)}"] = attrs.field(
        default=("horizontal", "vertical", "rotation", "scaling", "thickness"),
        validator=[min_len(1), deep_iterable(in_(MOVES))],
    )
    step: Annotated[float, "pixels by which the image is moved to and fro"] = (
        attrs.field(default=1.0, validator=gt(0))
    )

    def at(self, x: Tensor) -> Tensor:
        """Tangent vectors of images x (batch, channels, height, width), made orthonormal in the order of the moves.

        Raises:
            UsageError: the examples are no images.
        """
        from robustfw.regions import wide
        from robustfw_manifold.linear import orthonormal
        from robustfw_manifold.transforms import tangents

        if x.dim() != 4:
            raise UsageError(
                f"the basis transform needs images, (channels, height, width), not examples of shape "
                f"{tuple(x.shape[1:])}: choose another one, such as basis=knn-pca"
            )
        vectors = tangents(x.detach().to(wide(x.dtype)), self.moves, self.step)
        return orthonormal(vectors.flatten(2)).reshape(vectors.shape)


@final
@attrs.frozen
class KnnPca(Basis):
    """The leading principal components of the training examples nearest to x."""

    neighbors: Annotated[int, "how many are near"] = attrs.field(
        default=20, validator=ge(2)
    )
    n_components: Annotated[int, _N_COMPONENTS] = attrs.field(
        default=8, validator=ge(1), metadata={"aliases": ("dim",)}
    )
    points: Annotated[int, _POINTS] = attrs.field(default=10_000, validator=ge(2))
    learnt: Any = learnt()

    def fit(self, train: Split) -> Self:
        """The basis with the training examples, which it stores."""
        from robustfw_manifold.neighbours import collect_examples

        if self.learnt is not None:
            return self
        return with_learnt(self, learnt=collect_examples(train, self.points))

    def at(self, x: Tensor) -> Tensor:
        """Principal components of the neighbours of each row of x, (batch, directions, *shape).

        It takes a matrix product with all stored examples, and a small eigenvalue problem for each row.

        Raises:
            UsageError: the basis is not fitted, or to examples of another shape.
        """
        from robustfw.regions import wide
        from robustfw_manifold.neighbours import components

        if self.learnt is None:
            raise _not_fitted("knn-pca")
        return components(
            x.detach().to(wide(x.dtype)), self.learnt, self.neighbors, self.n_components
        )


@final
@attrs.frozen
class Cae(Basis):
    """The leading singular vectors of ∂h/∂x of a contractive autoencoder (Rifai et al. 2011), which is trained first.

    The training is kept in the folder autoencoders of ROBUSTFW_CACHE, or else of ~/.cache/robustfw. The defaults are
    the best of a small grid on held-out digits: moves along the basis led least far away from them.
    """

    n_components: Annotated[int, _N_COMPONENTS] = attrs.field(
        default=8, validator=ge(1), metadata={"aliases": ("dim",)}
    )
    hidden: Annotated[tuple[int, ...], "units of each layer, the lowest first"] = (
        attrs.field(default=(128,), validator=[min_len(1), deep_iterable(ge(1))])
    )
    contraction: Annotated[float, "λ, weight of the Jacobian's squared norm"] = (
        attrs.field(default=1.0, validator=ge(0))
    )
    epochs: Annotated[int, "passes over the examples for each layer"] = attrs.field(
        default=20, validator=ge(0)
    )
    learning_rate: Annotated[float, "of Adam"] = attrs.field(
        default=0.01, validator=gt(0)
    )
    points: Annotated[int, _POINTS] = attrs.field(default=10_000, validator=ge(1))
    seed: Annotated[int, "of initial weights and order"] = 0
    learnt: Any = learnt()

    def fit(self, train: Split) -> Self:
        """The basis with an autoencoder of the training examples, which is trained or read from the cache."""
        from robustfw_manifold import autoencoder
        from robustfw_manifold.neighbours import collect_examples

        if self.learnt is not None:
            return self
        x = collect_examples(train, self.points)
        plan = autoencoder.TrainingPlan(
            self.hidden, self.contraction, self.epochs, self.learning_rate, self.seed
        )
        folder = autoencoder.cache_folder()
        return with_learnt(
            self,
            learnt=autoencoder.load_or_train(
                x.flatten(1), plan, train.fingerprint(), folder
            ),
        )

    def autoencoder(self, x: Tensor) -> Autoencoder:
        """The trained autoencoder, in the type and on the device of x.

        Raises:
            UsageError: the basis is not fitted, or to examples of another size.
        """
        if self.learnt is None:
            raise _not_fitted("cae")
        net: Autoencoder = self.learnt
        size = math.prod(x.shape[1:])
        trained_size = net.layers[0].weight.shape[1]
        if size != trained_size:
            raise UsageError(
                f"x has {size} values an example, the training data of the autoencoder {trained_size}: fit the set to "
                "the data that it is used on"
            )
        return net.convert(x)

    def at(self, x: Tensor) -> Tensor:
        """Singular vectors of ∂h/∂x at each row of x, (batch, directions, *shape).

        It takes one eigenvalue problem of the size of the code for each row.
        """
        from robustfw.regions import wide
        from robustfw_manifold.linear import singular_vectors

        exact = x.detach().to(wide(x.dtype))
        jacobian = self.autoencoder(exact).jacobian(exact.flatten(1))
        return singular_vectors(jacobian, self.n_components).unflatten(2, x.shape[1:])


@final
@attrs.frozen
class Decoder(Basis):
    """The leading singular vectors of ∂x̂/∂h of an autoencoder's decoder, at the code of x."""

    autoencoder: Annotated[Basis, "a cae, in brackets: (cae:hidden=[64])"] = (
        attrs.field(factory=Cae, validator=instance_of(Cae))
    )
    n_components: Annotated[int, _N_COMPONENTS] = attrs.field(
        default=8, validator=ge(1), metadata={"aliases": ("dim",)}
    )

    def fit(self, train: Split) -> Self:
        """The basis with its autoencoder fitted."""
        return attrs.evolve(self, autoencoder=self.autoencoder.fit(train))

    def at(self, x: Tensor) -> Tensor:
        """Singular vectors of ∂x̂/∂h at the code of each row of x, (batch, directions, *shape).

        It takes the decoder in forward mode, once for each entry of the code, as one batch.
        """
        from robustfw.regions import wide

        assert isinstance(self.autoencoder, Cae)  # as the validator demands
        exact = x.detach().to(wide(x.dtype))
        net = self.autoencoder.autoencoder(exact)
        given = GivenDecoder(
            net.decode,
            lambda examples: net.encode(examples.flatten(1)),
            self.n_components,
        )
        return given.at(exact)


@final
@attrs.frozen
class GivenDecoder(Basis):
    """The leading singular vectors of ∂g/∂z of a generative decoder g at z = e(x); for Python, since it has no spec.

    ``GivenDecoder(decoder, encoder)`` with any differentiable functions, such as nets in evaluation mode:
    z (batch, code) ↦ (batch, *shape) and back.
    """

    decode: Annotated[Callable[[Any], Any], "codes (batch, code) to examples"]
    encode: Annotated[
        Callable[[Any], Any],
        "examples to codes (batch, code), at which the decoder is looked at",
    ]
    n_components: Annotated[int, _N_COMPONENTS] = attrs.field(
        default=8, validator=ge(1), metadata={"aliases": ("dim",)}
    )

    def at(self, x: Tensor) -> Tensor:
        """Singular vectors of ∂g/∂z at the code of each row of x, (batch, directions, *shape).

        It takes the decoder in forward mode, once for each entry of the code, as one batch.

        Raises:
            UsageError: codes or decoded examples have another shape than they should.
        """
        import torch

        from robustfw.regions import wide
        from robustfw_manifold.directional import along
        from robustfw_manifold.linear import singular_vectors

        exact = x.detach().to(wide(x.dtype))
        with torch.no_grad():
            code = self.encode(exact)
            if code.dim() != 2 or len(code) != len(x):
                raise UsageError(
                    f"the encoder gives {tuple(code.shape)} for {len(x)} examples: give (batch, code)"
                )
            units = torch.eye(code.shape[1], dtype=code.dtype, device=code.device)
            _, derivatives = along(self.decode, code, units.expand(len(x), -1, -1))
            jacobian = derivatives.flatten(2)
        size = math.prod(x.shape[1:])
        if jacobian.shape[2] != size:
            raise UsageError(
                f"the decoder gives {jacobian.shape[2]} values an example, and x has {size}: give a decoder of x"
            )
        return (
            singular_vectors(jacobian.detach(), self.n_components)
            .to(exact.dtype)
            .unflatten(2, x.shape[1:])
        )
