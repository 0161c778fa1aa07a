"""The columns of generated images in a result: what each number is, under the name of who computed it."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.metrics import Column

ACCURACY_PHRASES = {"forgotten_recall": "of the forgotten classes", "kept_accuracy": "of the remaining classes"}
"""What the classifier was asked about real images, in words."""

CLASSIFIER_COLUMNS = (
    Column(
        "generated_ua",
        "UA",
        "%",
        "100 minus the share of images asked for what was forgotten that {name} still assigns to it (to "
        "any of the forgotten classes, where there are several). It says nothing about what they show instead: see the "
        "entropy and the pictures.{own}",
        "higher",
    ),
    Column(
        "generated_ua_low",
        "UA at least",
        "%",
        "Lower end of the exact (Clopper–Pearson) 95 % interval of UA over the images of one model; errors "
        "of {name} itself are not in it.",
        "higher",
    ),
    Column(
        "generated_entropy",
        "entropy",
        "nats",
        "Mean entropy of what {name} predicts for images asked for what was forgotten: near 0 where it is sure "
        "what they show, up to the logarithm of the number of classes where it sees nothing.",
        "match",
    ),
    Column(
        "generated_accuracy",
        "kept accuracy",
        "%",
        "Share of the images asked for a remaining class that {name} assigns to it.{own}",
        "higher",
    ),
)
"""Of the images' classes, with a place for the classifier's name."""


FEATURE_COLUMNS = (
    Column(
        "fid_real",
        "FID, real",
        "",
        "Fréchet distance between generated and real images {same}. Comparable only between models judged by the same "
        "network on equally many images: few images raise it.",
        "lower",
    ),
    Column(
        "fid_excess",
        "FID, excess",
        "%",
        "By how much the Fréchet distance to real images exceeds the original model's, in percent of that, {same}.",
        "lower",
    ),
    Column(
        "fid_original",
        "FID, original",
        "",
        "Fréchet distance to the original model's images {same}. In the original's own row: the mean distance between "
        "random halves of its images, what chance alone gives at half as many. Images of the same seeds are alike and "
        "lie nearer than independent ones.",
        "lower",
    ),
    Column(
        "kid_real",
        "KID, real",
        "",
        "Unbiased kernel distance between generated and real images {same}; about 0, on either side, for equal "
        "distributions. Its scale is that of the features.",
        "lower",
    ),
    Column(
        "precision",
        "precision",
        "%",
        "Share of generated images that lie among the real ones (within reach of the third neighbor) {same}.",
        "higher",
    ),
    Column(
        "recall",
        "recall",
        "%",
        "Share of real images that lie among the generated ones (within reach of the third neighbor) {same}.",
        "higher",
    ),
    Column(
        "density",
        "density",
        "",
        "In how many real images' neighborhoods of five a generated image lies, over five, {same}; about 1 for equal "
        "distributions.",
        "higher",
    ),
    Column(
        "coverage",
        "coverage",
        "%",
        "Share of real images with a generated one within reach of their fifth neighbor {same}.",
        "higher",
    ),
)
"""Of distances between features, with a place for whose they are; keys and labels get that in front."""


def classifier_columns(name: str, accuracies: Mapping[str, float | None]) -> tuple[Column, ...]:
    """Return the columns of what a classifier says the images show.

    Examples:
        >>> classifier_columns("resnet8", {"forgotten_recall": 94.0, "kept_accuracy": None})[0].definition[-71:]
        ' resnet8 is right about 94.0 % of real images of the forgotten classes.'
    """
    phrases = [
        f"{accuracies[key]:.1f} % of real images {words}"
        for key, words in ACCURACY_PHRASES.items()
        if accuracies.get(key) is not None
    ]
    accuracy_note = f" {name} is right about {' and '.join(phrases)}." if phrases else ""
    return tuple(
        column._replace(definition=column.definition.format(name=name, own=accuracy_note))
        for column in CLASSIFIER_COLUMNS
    )


def feature_columns(key: str, prefix: str) -> tuple[Column, ...]:
    """Return the columns of distances between features.

    Args:
        key: Beginning of the keys.
        prefix: Beginning of the names; empty for Inception's 2048 features alone.

    Examples:
        >>> [column.label for column in feature_columns("feature", "resnet8-")][:2]
        ['resnet8-FID, real', 'resnet8-FID, excess']
        >>> feature_columns("inception", "")[0].label
        'FID, real'
    """
    whose = f"features of {prefix.removesuffix('-')}" if prefix else "the 2048 features of Inception"
    return tuple(
        column._replace(
            key=f"{key}_{column.key}",
            label=f"{prefix}{column.label}",
            definition=column.definition.format(same=f"on the remaining classes, by {whose}"),
        )
        for column in FEATURE_COLUMNS
    )
