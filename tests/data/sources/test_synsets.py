"""The 1,000 classes of ImageNet, in the order in which published networks number them."""

from alexnet.data.sources.synsets import imagenet_names, imagenet_words, synset_names


def test_a_word_of_two_synsets_is_told_apart() -> None:
    words = {"n1": "crane", "n2": "crane, derrick", "n4": "ox, cattle"}
    assert synset_names(["n1", "n2", "n3", "n4"], words) == ["crane (n1)", "crane (n2)", "n3", "ox"]


def test_names_are_unique_and_in_the_order_of_the_ids() -> None:
    names = imagenet_names()
    assert list(names) == sorted(names)
    assert len(names) == len(set(names.values())) == 1000
    assert [name for name in names.values() if name.startswith(("crane", "maillot"))] == [
        *("crane (n02012849)", "crane (n03126707)", "maillot (n03710637)", "maillot (n03710721)")
    ]


def test_order_is_that_of_torchvisions_published_weights() -> None:
    """All but the two names that torchvision words differently are among the synset's words, at the same place."""
    from torchvision.models import AlexNet_Weights

    theirs = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    pairs = list(zip(theirs, imagenet_words().values(), strict=True))
    other = [name for name, words in pairs if name not in [word.strip() for word in words.split(",")]]
    assert other == ["crane bird", "maillot tank suit"]
