"""A card in words: the facts that the page shows, and the model card in Markdown."""

LIMITS = [
    "It compares looks. It does not identify anybody, and nothing about a person should be decided by it.",
    "It has learned whatever the pictures of a label had in common, be that the background, the light or the clothes.",
    "On pictures of another kind than those it was checked on, it errs more often than the figures above say.",
    "These figures are of one training run. Their intervals allow for the choice of pictures and not for chance in "
    "training: with another seed the same pictures give another network, and other figures.",
]
_SOURCES = {"sample": " drawn by the project", "search": " found by a search engine"}


def facts(card):
    """Return what a `Card` says as a list of sentences, each figure with its uncertainty and its data."""
    found = [f"This model says which of {in_words(card.labels)} a picture is most like; it knows nothing else."]
    if card.training:
        found.append(_training_in_words(card.training, card.figures.get("photos")))
    if error := card.figures.get("error"):
        found.append(f"Wrong on {error_in_words(error)}, among pictures that it had not learned from.")
    if calibration := card.figures.get("calibration"):
        found.append(_calibration_in_words(calibration))
    if ood := card.figures.get("ood"):
        found.append(_ood_in_words(ood))
    return found


def model_card(card, confusion=None):
    """Return the model card of a `Card` in Markdown, after Mitchell et al., "Model Cards for Model Reporting" (2019).

    `confusion`: the address of a picture of the confusion matrix.
    """
    lines = [f"# {in_words(card.labels)}: a model card", "", *_bullets(facts(card)), ""]
    if confusion:
        lines += ["Each row is what a picture was, each column what the model said:", ""]
        lines += [f"![The confusion matrix]({confusion})", ""]
    lines += ["## What it cannot know", "", *_bullets(LIMITS), ""]
    lines += ["## Files", "", *_bullets(_files(card)), ""]
    return "\n".join(lines)


def _bullets(sentences):
    return [f"- {sentence}" for sentence in sentences]


def _files(card):
    yield "`export.pkl` is the model, fastai's own. Loading it runs whatever it holds."
    if card.onnx:
        precision = card.onnx.get("precision", "fp32")
        yield f"`export.onnx` is the same model in the ONNX format, in {precision}. {onnx_in_words(card.onnx)}"
    yield f"Made with {', '.join(f'{package} {version}' for package, version in card.versions.items())}."


def _training_in_words(training, photos):
    """`photos`: how many there were, by split; None where that is not known."""
    words = [training.get("arch") or ""]
    if photos:
        words.append(f" on {photos['train']} pictures{_SOURCES.get(training.get('source'), '')}")
    if training.get("pretrained"):
        words.append(", starting from weights that had seen ImageNet's photographs,")
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
    """An `error_figure` as "1 of 180 (0.6%, with 95 % confidence between 0.1% and 3.1%)"."""
    low, high = error["interval"]
    confidence = f"with 95 % confidence between {low:.1%} and {high:.1%}"
    return f"{error['errors']} of {error['photos']} ({error['rate']:.1%}, {confidence})"


def _calibration_in_words(figures):
    before = f"Its probabilities were off by {figures['before']:.1%} on average, on {figures['photos']} pictures"
    if "after" not in figures:
        return f"{before}, and were left so: {figures['reason']}."
    return f"{before}, and by {figures['after']:.1%} after dividing the scores by {figures['temperature']:.2f}."


def _ood_in_words(figures):
    if "reason" in figures:
        return f"It cannot tell when a picture shows something else: {figures['reason']}."
    kept = f"It took {figures['kept']} of {figures['photos']} pictures of its labels for known"
    if "auroc" not in figures:
        return f"{kept}; how well it spots other things was not measured."
    low, high = figures["interval"]
    refused = f"{figures['refused']} of {figures['others']} pictures of other things for something else"
    return f"{kept}, and {refused} (AUROC {figures['auroc']:.3f}, with 95 % confidence {low:.3f} to {high:.3f})."


def onnx_in_words(onnx):
    """What was measured of export.onnx (a card's `onnx`), in sentences; "" where nothing was."""
    sentences = []
    if "difference" in onnx:
        sentences.append(f"In fp32 its probabilities differ from the pickle's by at most {onnx['difference']:.0e}.")
    if int8 := onnx.get("int8"):
        sentences.append(
            f"In int8 it gives the same label as in fp32 to {int8['same']:.1%} of {int8['photos']} pictures, "
            f"with probabilities that differ by {int8['difference']:.4f} on average."
        )
    return " ".join(sentences)


def in_words(labels):
    """`["a", "b", "c"]` -> "a, b and c"."""
    *first, last = labels
    return f"{', '.join(first)} and {last}" if first else last
