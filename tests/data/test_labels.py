"""Labels of a head and of data, matched by name."""

import pytest

from src.data.imagenet import imagenet_labels
from src.data.labels import are_placeholders, common_labels, match_labels
from src.errors import UserError

NUMBERS = [str(number) for number in range(12)]
AS_TEXT = sorted(NUMBERS)  # 0, 1, 10, 11, 2, ...
ANIMALS = ["cat", "dog", "eel"]


def match(head, data):
    return match_labels(head, data, "a.ckpt")


def test_equal_lists_need_no_word():
    assert match(ANIMALS, ANIMALS) == match(ANIMALS, list(ANIMALS))
    assert match(ANIMALS, ANIMALS).outputs == [0, 1, 2] and match(ANIMALS, ANIMALS).lines == []
    assert match(["a", "a"], ["a", "a"]).outputs == [0, 1]


def test_another_order_is_mapped_and_said():
    found = match(NUMBERS, AS_TEXT)
    assert found.classes == NUMBERS and found.outputs[:5] == [0, 1, 10, 11, 2]
    assert found.lines == ["the data has the 12 labels of a.ckpt in another order: matched by name"]
    assert match(ANIMALS, ["eel", "cat", "dog"]).outputs == [2, 0, 1]


def test_a_subset_is_mapped_and_said():
    found = match(ANIMALS, ["eel", "cat"])
    assert found.classes == ANIMALS and found.outputs == [2, 0]
    assert found.lines == [
        "the data has 2 of the 3 labels of a.ckpt, matched by name; evaluated over all 3 outputs (not in the data: dog)"
    ]


def test_an_unknown_label_is_refused_by_name():
    with pytest.raises(UserError, match="1 label that a.ckpt does not know: gnu; it knows cat, dog, eel: rename"):
        match(ANIMALS, ["cat", "dog", "gnu"])
    with pytest.raises(UserError, match="2 labels that .* gnu, hen"):
        match(ANIMALS, [*ANIMALS, "gnu", "hen"])


def test_placeholders_take_the_data_s_names_in_its_order():
    found = match(["0", "1", "2"], ["cat", "dog", "eel"])
    assert found.classes == ANIMALS and found.outputs == [0, 1, 2]
    assert found.lines[0].startswith("a.ckpt numbers its 3 labels and does not name them: they are taken to be")


def test_placeholders_cannot_be_taken_for_another_number_of_names():
    with pytest.raises(UserError, match="cat, dog; .*: name them with convert.py --classes FILE"):
        match(["0", "1", "2"], ["cat", "dog"])


def test_numbered_folders_are_a_subset_of_placeholders_by_name():
    assert match(NUMBERS, ["10", "2"]).outputs == [10, 2]


def test_labels_that_are_not_unique():
    with pytest.raises(UserError, match="has 1 label of the data more than once: crane"):
        match(["crane", "dog", "crane"], ["crane", "dog"])
    assert match(["crane", "dog", "crane"], ["dog"]).outputs == [1]
    with pytest.raises(UserError, match="one and the same of a.ckpt: e"):
        match(["é", "dog"], ["e\u0301", "é"])


def test_composed_letters_are_the_same_label():
    assert match(["dog", "é"], ["e\u0301", "dog"]).outputs == [1, 0]


def test_ids_of_wordnet_decide_whatever_the_names():
    head = ["n02012849 crane", "n03126707 crane", "n01440764 tench"]
    found = match(head, ["n01440764", "n03126707"])
    assert found.classes == head and found.outputs == [2, 1]
    assert found.lines[0].startswith("the data has 2 of the 3 labels of a.ckpt, matched by WordNet id;")
    assert match(head, ["n03126707", "n01440764 Schleie", "n02012849 bird"]).outputs == [1, 2, 0]
    assert match(["n02012849", "n03126707"], head[:2]).lines == [
        "the data has the 2 labels of a.ckpt, spelled otherwise: matched by WordNet id"
    ]
    with pytest.raises(UserError, match="1 label that a.ckpt does not know: n09999999 crane"):
        match(head, ["n09999999 crane"])


def test_names_decide_where_one_side_has_no_ids():
    head = ["n02012849 crane", "n03126707 crane", "n01440764 tench"]
    assert match(head, ["tench", "n03126707"]).outputs == [2, 1]
    assert match(head, ["tench"]).lines[0].startswith("the data has 1 of the 3 labels of a.ckpt, matched by name;")
    assert match(["tench", "eel"], ["n01440764 tench"]).outputs == [0]
    with pytest.raises(UserError, match=r"more than once: crane; name the data's by their ids \(n02012849 crane, n031"):
        match(head, ["crane"])
    with pytest.raises(UserError, match="labels that are one and the same of a.ckpt: n02012849, n02012849 crane"):
        match(head, ["n02012849 crane", "n02012849"])


def test_labels_that_only_look_like_ids():
    assert match(["n1 a", "n012345678 b"], ["n1 a"]).outputs == [0]
    with pytest.raises(UserError, match="does not know: n012345678;"):
        match(["n1 a", "n012345678 b"], ["n012345678"])


def test_other_names_than_those_of_imagenet():
    with pytest.raises(UserError, match=r"where these are ImageNet's, name .* by their ids"):
        match(imagenet_labels(), ["cat"])


def test_common_labels():
    assert common_labels(["n02012849 crane", "n03126707 crane"], ["n03126707", "crane"]) == {0: 1}
    assert common_labels(["a", "b", "c", "c"], ["c", "z", "b"]) == {2: 1}
    assert are_placeholders(["0", "1"]) and not are_placeholders(["1", "0"])
