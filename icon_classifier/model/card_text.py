"""A card in words: the facts that the page shows, and the model card in Markdown."""

LIMITS = [
    "The model compares appearance. It does not identify people. Do not use it to decide anything about a person.",
    "The model may have learned anything that the training photos of a label share, such as background or clothes.",
    "The error rate is higher on pictures that differ from the validation photos.",
    "All figures come from one training run. The intervals cover the choice of validation photos, but not the "
    "randomness of training: another seed gives another network and other figures.",
]
_SOURCES = {"sample": " drawn by the project", "search": " found by a search engine"}


def facts(card):
    """Return the facts of a `Card` as a list of sentences, each figure with its uncertainty and its data."""
    found = [f"This model tells apart {in_words(card.labels)}. It has no other labels."]
    if not card.detects_ood():
        found.append("A picture of anything else may get one of these labels too, with a high probability.")
    if card.training:
        found.append(_training_in_words(card.training, card.figures.get("photos")))
    if error := card.figures.get("error"):
        found.append(f"Wrong on {error_in_words(error)}, measured on validation photos, which training does not use.")
    found += _measurements_in_words(card.figures)
    if calibration := card.figures.get("calibration"):
        found.append(_calibration_in_words(calibration))
    if ood := card.figures.get("ood"):
        found.append(_ood_in_words(ood))
    return found


def model_card(card, confusion=None):
    """Return the model card of a `Card` in Markdown, after Mitchell et al., "Model Cards for Model Reporting" (2019).

    confusion: the address of an image of the confusion matrix.
    """
    lines = [f"# {in_words(card.labels)}: a model card", "", *_bullets(facts(card)), ""]
    if per_label := card.figures.get("per_label"):
        lines += ["## Per label", "", *_per_label_table(per_label), ""]
    if confusion:
        lines += ["The confusion matrix has a row per actual label and a column per predicted label:", ""]
        lines += [f"![The confusion matrix]({confusion})", ""]
    lines += ["## Limitations", "", *_bullets(LIMITS), ""]
    lines += ["## Files", "", *_bullets(_files(card)), ""]
    return "\n".join(lines)


def _bullets(sentences):
    return [f"- {sentence}" for sentence in sentences]


def _files(card):
    yield "`export.pkl` is the model as fastai exports it. Loading a pickle can run any code in it."
    if card.onnx:
        precision = card.onnx.get("precision", "fp32")
        yield f"`export.onnx` is the same model in the ONNX format, in {precision}. {onnx_in_words(card.onnx)}"
    yield f"Made with {', '.join(f'{package} {version}' for package, version in card.versions.items())}."


def _training_in_words(training, photos):
    """Return how the model was trained as a sentence. `photos`: their number by split, or None if unknown."""
    words = [training.get("arch") or ""]
    if photos:
        words.append(f" on {photos['train']} photos{_SOURCES.get(training.get('source'), '')}")
    if training.get("pretrained"):
        words.append(", starting from weights pretrained on ImageNet,")
    if epochs := training.get("epochs"):
        words.append(" for 1 epoch" if epochs == 1 else f" for {epochs} epochs")
    if seconds := training.get("seconds"):
        words.append(f", in {duration_in_words(seconds)} on {training.get('device', 'an unknown device')}")
    return f"Trained: {''.join(words).strip()}; {training['made']}."


def duration_in_words(seconds):
    """Return `seconds` as "52 s", "7 min" or "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def error_in_words(error):
    """Return an `error_figure` as "1 of 180 (0.6%, with 95% confidence between 0.1% and 3.1%)"."""
    low, high = error["interval"]
    confidence = f"with 95% confidence between {low:.1%} and {high:.1%}"
    return f"{error['errors']} of {error['photos']} ({error['rate']:.1%}, {confidence})"


def share_in_words(count, total, interval):
    """Return a share as "18 of 20 (90%, between 70% and 97%)"; `interval` is its 95% interval."""
    if not total:
        return "0 of 0"
    low, high = interval
    return f"{count} of {total} ({count / total:.0%}, between {low:.0%} and {high:.0%})"


def _measurements_in_words(figures):
    """Yield a sentence per further measurement of the model.

    Figures of linear heads on the features of an untrained network are left out, because they say little about the
    trained network.
    """
    if test := figures.get("test"):
        yield test_in_words(test)
    if per_label := figures.get("per_label"):
        yield from _weakest_label_in_words(per_label)
    if (curve := figures.get("learning_curve")) and curve["pretrained"]:
        yield learning_curve_in_words(curve)
    if (folds := figures.get("cross_validation")) and folds["pretrained"]:
        yield cross_validation_in_words(folds)


def test_in_words(test):
    """Return the figure of `measure_test` as a sentence, with the numbers of photos that were skipped."""
    skipped = [f"{test['unreadable']} that could not be read"] if test["unreadable"] else []
    skipped += [f"{test['seen']} that were used in training"] if test["seen"] else []
    rest = f" Photos skipped: {in_words(skipped)}." if skipped else ""
    return f"On the test folder, which training did not use, it was wrong on {error_in_words(test)}.{rest}"


def _weakest_label_in_words(per_label):
    measured = [(figure["right"] / figure["photos"], label) for label, figure in per_label.items() if figure["photos"]]
    if not measured or min(measured)[0] == 1:
        return
    label = min(measured)[1]
    figure = per_label[label]
    recall = share_in_words(figure["right"], figure["photos"], figure["recall"])
    yield f"The label with the lowest recall is {label}: it recognizes {recall}."


def _per_label_table(per_label):
    """Yield the rows of a Markdown table of recall and precision per label, with 95% intervals."""
    yield "| label | recall: recognized, of its photos | precision: correct, of its predictions |"
    yield "|---|---|---|"
    for label, figure in per_label.items():
        recall = share_in_words(figure["right"], figure["photos"], figure["recall"])
        precision = share_in_words(figure["right"], figure["predicted"], figure["precision"])
        yield f"| {label.replace('|', chr(92) + '|')} | {recall} | {precision} |"


MAX_NEGLIGIBLE_GAIN = 0.02  # of the error rate, from half to all photos; below it more photos hardly help


def learning_curve_in_words(curve):
    """Return as text whether more photos would help, from the figures of `learning_curve`."""
    half, whole = curve["points"][-2:]
    low, high = curve["interval"]
    measured = (
        f"Trained on {half['photos']} photos, a linear head on {_features_in_words(curve)} has an error of "
        f"{half['rate']:.1%}, trained on {whole['photos']} photos {whole['rate']:.1%}, measured on {curve['photos']} "
        f"photos that it was not trained on. The difference is {100 * curve['gain']:.1f} percentage points, with 95% "
        f"confidence between {100 * low:.1f} and {100 * high:.1f}."
    )
    if low > 0:
        return f"{measured} Twice as many photos may lower the error to about {curve['expected']:.1%}."
    if high < MAX_NEGLIGIBLE_GAIN:
        return f"{measured} More photos of the same kind would hardly help."
    return f"{measured} This is too uncertain to say whether more photos would help."


def cross_validation_in_words(figures):
    """Return the figure of `cross_validate` as text."""
    return (
        f"In {figures['folds']}-fold cross-validation, a linear head on {_features_in_words(figures)} was wrong on "
        f"{error_in_words(figures)}. This is not the error of the trained network."
    )


def _features_in_words(figures):
    return "frozen features" if figures["pretrained"] else "the features of an untrained network"


def _calibration_in_words(figures):
    before = f"The calibration error was {figures['before']:.1%} on {figures['photos']} validation photos"
    if "after" not in figures:
        return f"{before}. Temperature scaling was not applied: {figures['reason']}."
    after = f"{figures['after']:.1%} after temperature scaling with temperature {figures['temperature']:.2f}"
    return f"{before}, and {after}."


def _ood_in_words(figures):
    if "reason" in figures:
        return f"It cannot detect pictures of something else: {figures['reason']}."
    low, high = figures["share_interval"]
    kept = (
        f"It accepts about {figures['share']:.0%} of new pictures of its labels (with 95% confidence between "
        f"{low:.0%} and {high:.0%}, from {figures['photos']} validation photos)"
    )
    if "auroc" not in figures:
        return f"{kept}. How well it detects pictures of something else was not measured."
    low, high = figures["interval"]
    detected = f"It detected {figures['refused']} of {figures['others']} pictures of something else"
    return f"{kept}. {detected} (AUROC {figures['auroc']:.3f}, with 95% confidence between {low:.3f} and {high:.3f})."


def onnx_in_words(onnx):
    """Return what was measured of export.onnx (a card's `onnx`) in sentences, or "" if nothing was measured."""
    sentences = []
    if "difference" in onnx:
        sentences.append(f"In fp32 its probabilities differ from the pickle's by at most {onnx['difference']:.0e}.")
    if int8 := onnx.get("int8"):
        sentences.append(
            f"In int8 it predicts the same label as in fp32 for {int8['same']:.1%} of {int8['photos']} validation "
            f"photos, and its probabilities differ by {int8['difference']:.4f} on average."
        )
    return " ".join(sentences)


def in_words(labels):
    """Return labels as text: `["a", "b", "c"]` as "a, b and c"."""
    *first, last = labels
    return f"{', '.join(first)} and {last}" if first else last
