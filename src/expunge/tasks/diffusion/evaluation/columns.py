"""The columns of generated images in a result: what each number is, under the name of who computed it."""

from __future__ import annotations

from expunge.metrics import Column

ASKED = (
    Column(
        "generated_ua",
        "UA",
        "%",
        "100 minus the share of images asked for what was forgotten that the named classifier still assigns to it (to "
        "any of the forgotten classes, where there are several). It says nothing about what they show instead: see the "
        "entropy and the pictures.",
        "higher",
    ),
    Column(
        "generated_ua_low",
        "UA at least",
        "%",
        "Lower end of the exact (Clopper–Pearson) 95 % interval of UA over the images of one model; the classifier's "
        "own errors are not in it.",
        "higher",
    ),
    Column(
        "generated_entropy",
        "entropy",
        "nats",
        "Mean entropy of the classifier's prediction on images asked for what was forgotten: near 0 where it is sure "
        "what they show, up to the logarithm of the number of classes where it sees nothing.",
        "match",
    ),
    Column(
        "generated_accuracy",
        "kept accuracy",
        "%",
        "Share of the images asked for a remaining class that the classifier assigns to it.",
        "higher",
    ),
)
"""Of the images' classes; any classifier gives these."""


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
    same = f"on the remaining classes, by {whose}"
    return (
        Column(
            f"{key}_fid_real",
            f"{prefix}FID, real",
            "",
            f"Fréchet distance between generated and real images {same}. Comparable only between models judged by the "
            "same network on equally many images: few images raise it.",
            "lower",
        ),
        Column(
            f"{key}_fid_excess",
            f"{prefix}FID, excess",
            "%",
            f"By how much {prefix}FID to real images exceeds the original model's, in percent of that.",
            "lower",
        ),
        Column(
            f"{key}_fid_original",
            f"{prefix}FID, original",
            "",
            f"Fréchet distance to the original model's images {same}. In the original's own row: the mean distance "
            "between random halves of its images, what chance alone gives at half as many. Images of the same seeds "
            "are alike and lie nearer than independent ones.",
            "lower",
        ),
        Column(
            f"{key}_kid_real",
            f"{prefix}KID, real",
            "",
            f"Unbiased kernel distance between generated and real images {same}; about 0, on either side, for equal "
            "distributions. Its scale is that of the features.",
            "lower",
        ),
        Column(
            f"{key}_precision",
            f"{prefix}precision",
            "%",
            f"Share of generated images that lie among the real ones (within reach of the third neighbour) {same}.",
            "higher",
        ),
        Column(
            f"{key}_recall",
            f"{prefix}recall",
            "%",
            f"Share of real images that lie among the generated ones (within reach of the third neighbour) {same}.",
            "higher",
        ),
        Column(
            f"{key}_density",
            f"{prefix}density",
            "",
            f"In how many real images' neighbourhoods of five a generated image lies, over five {same}; about 1 for "
            "equal distributions.",
            "higher",
        ),
        Column(
            f"{key}_coverage",
            f"{prefix}coverage",
            "%",
            f"Share of real images with a generated one within reach of their fifth neighbour {same}.",
            "higher",
        ),
    )
