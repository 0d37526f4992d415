"""Choose drawings of the sample that the model classifies with certainty."""

from functools import cache


@cache
def surest(site, label):
    """Return the path of the validation drawing of `label` with the highest probability.

    Each training finds another network, and each network errs on other drawings.
    """
    from icon_classifier.model.classifier import load_classifier

    files = sorted((site / "photos/sample/valid" / label).iterdir())
    predictions = load_classifier(site / "export/export.pkl").predict_many(files)
    right = [
        (p.probability, file)
        for p, file in zip(predictions, files, strict=True)
        if p.label == label and p.is_ood is False
    ]
    assert right, f"the model knows none of the {len(files)} drawings of {label}"
    return max(right)[1]
