"""Classes by index, WordNet id and name, and what is said of those that are unknown."""

import pytest

from minivan import explain
from minivan.card import Label, imagenet1k

pytestmark = pytest.mark.loop


@pytest.mark.parametrize("text", ["281", "n02123045", "tabby", "Tabby  Cat", "tabby, tabby cat"])
def test_a_class_is_an_index_a_wordnet_id_or_a_name(text):
    labels = imagenet1k()
    assert explain.choose(text, labels, 1000) == 281 == [label.wnid for label in labels].index("n02123045")


@pytest.mark.parametrize(
    "text, said",
    [
        ("tabbi", "near it are tabby"),
        ("cat", "near it are tiger cat, Persian cat, Siamese cat, Egyptian cat, Madagascar cat, tabby cat, bear cat"),
        ("Cats", "near it are tiger cat, Persian cat, Siamese cat, Egyptian cat, Madagascar cat, tabby cat, bear cat"),
        ("boat", "near it are U-boat, boat paddle, fireboat, lifeboat, speedboat"),
        ("terrier", ", 16 more"),
        ("ice", "near it are ice bear, ice cream, ice lolly"),
        ("expresso", "espresso"),
        ("1000", "0 to 999"),
        ("-1", "0 to 999"),
        ("crane", "several classes are called 'crane': n02012849, n03126707"),
        ("zzzz", "no class of these 1000 is called 'zzzz'"),
    ],
)
def test_an_unknown_class_lists_what_comes_near(text, said):
    with pytest.raises(ValueError) as error:
        explain.choose(text, imagenet1k(), 1000)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_without_names_a_class_is_an_index():
    assert explain.choose("3", (), 10) == 3
    with pytest.raises(ValueError, match="carry no class names"):
        explain.choose("tabby", (), 10)
    assert explain.choose_classes([2, "0"], (), 3) == [2, 0]
    assert explain.choose("2", (Label("", "one"), Label("", "two"), Label("", "three")), 3) == 2
